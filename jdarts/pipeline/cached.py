"""`cached_searches`: searches that a notebook runs once and reads from then on."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from jdarts.analysis.live import LiveSearch
from jdarts.analysis.run_folders import open_epochs
from jdarts.config import Experiment
from jdarts.config.files import to_json
from jdarts.config.user_files import PACKAGE
from jdarts.errors import FolderInUse, UserError
from jdarts.pipeline import defining_files, run_search_only
from jdarts.runs import environment
from jdarts.runs.folder import CONFIG
from jdarts.runs.reporter import Reporter, SilentReporter
from jdarts.search.members import Member


def cached_searches(
    config: Experiment, seeds: Sequence[int], *, folder: Path | None = None, reporter: Reporter | None = None
) -> list[list[LiveSearch]]:
    """The searches of `config` with each of `seeds`: run by the first call, read from their run folder by later ones.

    An element is the list of one search at its start and after each epoch whose checkpoint is kept
    (`search.keep_checkpoints`). All of them share their compiled losses. A search that was interrupted is continued. If
    another process is running the same searches, this waits for it.

    Args:
      folder: the run folder. The default is `searches/NAME-…` in $JDARTS_CACHE, or in ~/.cache/jdarts without that
        variable. Its name ends in a digest of `config`, `seeds`, the code of jdarts and the versions of the libraries,
        so that after a change of any of them the searches run again.
      reporter: shows the run to the user.

    Raises `UserError` as `run_search_only` does, and for a method or an estimator outside of jdarts without a `folder`,
    because changes of your own code would go unnoticed.
    """
    members = [Member(seed) for seed in seeds]
    folder = folder or _cache_folder(config, seeds)
    while not (folder / "search" / "members.json").exists():
        again = (folder / CONFIG).is_file()
        try:
            run_search_only(config, members, folder, resume=again, reporter=reporter or SilentReporter())
        except FolderInUse:
            time.sleep(1)
    found = [open_epochs(folder / "search" / member.name) for member in members]
    return [[found[0][0].at(epoch.state) for epoch in epochs] for epochs in found]


def _cache_folder(config: Experiment, seeds: Sequence[int]) -> Path:
    for file in defining_files(config).values():
        if not Path(file).resolve().is_relative_to(PACKAGE):
            raise UserError(f"the cache of searches does not notice changes of {file}; give cached_searches a folder")
    versions = [metadata.version(library) for library in environment.LIBRARIES]
    digest = hashlib.sha256(json.dumps([to_json(config), list(seeds), versions]).encode())
    for module in sorted(PACKAGE.rglob("*.py")):
        digest.update(module.read_bytes())
    place = Path(os.environ.get("JDARTS_CACHE") or Path.home() / ".cache" / "jdarts").expanduser().absolute()
    return place / "searches" / f"{config.name}-{digest.hexdigest()[:12]}"
