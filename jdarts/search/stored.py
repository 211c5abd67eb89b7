"""A search in a run folder: its configuration, its pure functions and the states in its checkpoints.

stored = StoredSearch.at("runs/darts_cifar10")                  # or runs/darts_cifar10/search/seed-3, one of several
state = stored.newest()
stored.search.compiled_score(state, op_weights, images, labels)
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax

from jdarts import hypergrad, spaces
from jdarts.config import Experiment, user_files
from jdarts.config.files import from_json
from jdarts.data import SearchData, load
from jdarts.data.text import TextData, is_text, load_text
from jdarts.errors import UserError
from jdarts.methods import Method, registry
from jdarts.runs.checkpoint import Checkpoints
from jdarts.runs.folder import CONFIG, RunFolder
from jdarts.runs.kinds import find_run, refuse_without_supernet
from jdarts.search.members import Member
from jdarts.search.search import Search, make_search
from jdarts.search.state import SearchState
from jdarts.spaces.cell_space import CellSpace
from jdarts.spaces.nasbench201 import NASBench201Space
from jdarts.spaces.space import Space

MEMBERS, SUMMARY = "searches.json", "members.json"
"""The names of the searches of one program, and their seeds and values, which are written at the end."""

OWN_STATE = ("cdarts", "gold_nas")
"""Drivers whose checkpoints hold a state around that of a search."""


@dataclass(frozen=True, eq=False)
class StoredSearch:
    """A search in a run folder; `StoredSearch.at` finds it, and its checkpoints are read on request.

    Attributes:
      folder: the run folder.
      checkpoints: the folder of its checkpoints.
      config, space, data: arguments with which the search was built.
      search: the pure functions of the search.
      shapes: the state, with shapes only.
      like: the structure of the checkpoints.
      own: takes the state of this search from a checkpoint, which may hold several searches.
    """

    folder: Path
    checkpoints: Path
    config: Experiment
    space: Space
    data: SearchData | TextData
    search: Search
    shapes: Any
    like: Any
    own: Callable[[Any], Any]

    @classmethod
    def at(cls, path: str | Path, imports: Sequence[str | Path] = ()) -> "StoredSearch":
        """The search in a run folder, its `search` subfolder, or the folder of one of several searches.

        The files in `imports` are executed first. If the user's method or space is still unknown, the file that
        defined it is executed, unless it has changed since the run started (`jdarts.config.user_files`).

        Raises `UserError` for a folder without a run or a checkpoint, for a run by trials or the training of one
        genotype, and for a configuration of another version.
        """
        folder = find_run(path)
        refuse_without_supernet(folder)
        config, given = read_config(folder), [vars(user_files.run(path)).get("space") for path in imports]
        searches, name = search_folder(folder).path, Path(path).name
        names = _read_json(searches / MEMBERS, [])
        if names and name not in names:
            raise UserError(
                f"run {folder} holds {len(names)} searches, {names[0]} to {names[-1]}; give the folder of one of them, "
                f"such as {searches / names[0]}"
            )
        alone = searches / name / "checkpoints" if names else searches / "checkpoints"
        together = bool(names) and not alone.is_dir()  # one program and one checkpoint for all of them
        checkpoints = searches / "checkpoints" if together else alone
        if not checkpoints.is_dir() or not any(entry.name.isdigit() for entry in checkpoints.iterdir()):
            raise without_checkpoint(folder)
        if names:
            config = _member(searches, name).config(config)
        method = known_method(folder, config)
        if method.driver in OWN_STATE:
            raise UserError(
                f"the checkpoints in {folder} hold the state of {method.name}, more than that of one "
                "search; jdarts report shows the run"
            )
        own = [space for space in given if isinstance(space, (CellSpace, NASBench201Space))]
        given_here = bool(own) and config.space.name.endswith(".py")
        space = spaces.as_configured(own[0], config.space) if given_here else known_space(folder, config)
        text = is_text(config.data.source)
        data = load_text(config.data) if text else load(config.data).for_search(config.data)
        search = make_search(config, space, data)
        shapes = like = jax.eval_shape(search.init, jax.random.key(0))
        take = _same
        if together:
            index, count = names.index(name), len(names)
            like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape), leaf.dtype), shapes)
            take = lambda state: jax.tree.map(lambda leaf: leaf[index], state)  # noqa: E731
        return cls(folder, checkpoints, config, space, data, search, shapes, like, take)

    @property
    def finished(self) -> bool:
        """True if the search has come to its end, so that its result is in the run folder."""
        return (self.folder / "genotype.txt").is_file() or (search_folder(self.folder).path / SUMMARY).is_file()

    def newest(self, warn: Callable[[str], None] | None = None) -> SearchState:
        """The state at the newest readable checkpoint.

        `warn` receives a line for each damaged checkpoint that is skipped (default: a Python warning). Raises
        `UserError` if no checkpoint is readable, and for one of another version.
        """
        with Checkpoints(self.checkpoints, warn=warn, read_only=True) as saved:
            restored = saved.restore_latest(self.like)
        if restored is None:
            raise without_checkpoint(self.folder)
        return self.own(restored.state)

    def every_epoch(self, warn: Callable[[str], None] | None = None) -> list[SearchState]:
        """The states after each epoch whose checkpoint was kept and is readable, oldest first."""
        states = []
        with Checkpoints(self.checkpoints, warn=warn, read_only=True) as saved:
            for step in saved.steps():
                whole = step % self.search.steps_per_epoch == 0
                restored = saved.restore_latest(self.like, up_to=step) if whole else None
                if restored is not None and restored.step == step:
                    states.append(self.own(restored.state))
        return states


def _same(state: Any) -> Any:
    return state


def without_checkpoint(folder: Path) -> UserError:
    """The error of a run without a checkpoint of its search."""
    return UserError(f"run {folder} has no checkpoint of a search yet; use it after its first epoch")


def _member(searches: Path, name: str) -> Member:
    """The seed and the swept values of the search `name`."""
    for entry in _read_json(searches / SUMMARY, {}).get("members", []):
        if entry["name"] == name:
            return Member(entry["seed"], tuple((key, value) for key, value in entry.items() if "." in key))
    if seed := re.fullmatch(r"seed-(\d+)", name):
        return Member(int(seed[1]))
    raise UserError(f"the values of {searches / name} are recorded at the end of the run; open it then")


def _read_json(file: Path, default: Any) -> Any:
    try:
        return json.loads(file.read_text()) if file.exists() else default
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None


def known_method(folder: Path, config: Experiment) -> Method:
    """The method of a run; if this process does not know it, the user's unchanged file is executed first.

    Raises `UserError` if the file has changed or is gone, or if no file defines the method.
    """
    for part in registry.unknown_parts(config.search.method):
        user_files.run(user_files.original(folder, f"method {part!r}"))
    name = config.search.hypergradient
    if name is not None and not hypergrad.is_known(name):
        user_files.run(user_files.original(folder, f"hypergradient {name!r}"))
    return registry.build(config.search.method, config.search.method_options)


def known_space(folder: Path, config: Experiment) -> Space:
    """The space of a run; like `known_method`, it may execute the user's unchanged file."""
    name = config.space.name
    what = f"space {name!r}"
    if name.endswith(".py"):
        return spaces.configured(replace(config.space, name=str(user_files.original(folder, what))))
    if name not in spaces.names() and user_files.has_record(folder):
        user_files.run(user_files.original(folder, what))
    return spaces.LANGUAGE[name] if name in spaces.LANGUAGE else spaces.configured(config.space)


def read_config(folder: Path) -> Experiment:
    """The stored configuration of a run; `UserError` if it is damaged or of another version."""
    try:
        text = (folder / CONFIG).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{folder / CONFIG} cannot be read: {error}") from None
    try:
        return from_json(text)
    except UserError as error:
        reason = "is half written or damaged" if "not a JSON" in str(error) else "is of another version of jdarts"
        raise UserError(f"{folder / CONFIG} {reason}: {error}") from None


def search_folder(folder: Path) -> RunFolder:
    """The folder with the records of a run's search: the subfolder `search`, or the run folder itself."""
    return RunFolder(folder / "search" if (folder / "search").is_dir() else folder)
