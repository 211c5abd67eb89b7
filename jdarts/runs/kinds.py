"""The kinds of runs, told apart by the files of their folders, and the refusal of a folder of the wrong kind."""

import json
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from jdarts.errors import UserError
from jdarts.runs.folder import CONFIG

PLAN, TUNING = "strategy.json", "tune.json"
"""The plans of the two kinds of runs by trials."""
GENOTYPE = "genotype.txt"


class Kind(Enum):
    """A kind of run, in words."""

    SEARCH = "a search by a method (jdarts search or run)"
    TRIALS = "a search by trials (jdarts search --strategy)"
    TUNING = "a run of jdarts tune"
    TRAINING = "the training of one genotype (jdarts train)"


def kind_of(folder: Path) -> Kind | None:
    """The kind of the run in `folder`; None if it has not recorded enough to tell."""
    if (folder / PLAN).is_file():
        return Kind.TRIALS
    if (folder / TUNING).is_file():
        return Kind.TUNING
    if (folder / "search").is_dir() or (folder / "genotypes.jsonl").is_file():
        return Kind.SEARCH
    if any((folder / name).exists() for name in ("metrics.jsonl", "result.json")):
        return Kind.TRAINING
    return None


def find_run(path: str | Path) -> Path:
    """The run folder at `path`, its `search` subfolder, or the folder of one of its searches.

    Raises `UserError` if there is none.
    """
    path = Path(path)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise UserError(f"run folder {path} {what}; give the folder that jdarts run or jdarts search wrote")
    for folder in (path, path.parent, *([path.parent.parent] if path.parent.name == "search" else [])):
        if (folder / CONFIG).is_file():
            return folder
    outer = next((folder for folder in path.parents[:3] if (folder / CONFIG).is_file()), None)
    if outer is not None:
        raise UserError(f"{path} is a part of the run {outer}; give that folder")
    raise UserError(f"{path} is not a run folder (it has no {CONFIG}); give the folder that jdarts run wrote")


def refuse_without_supernet(folder: Path) -> None:
    """Raise `UserError` if the run in `folder` is of a kind without alphas and the weights of a supernet."""
    kind = kind_of(folder)
    if kind not in (None, Kind.SEARCH):
        raise UserError(
            f"{folder} is {kind.value}, which has no alphas and no supernet; give the folder of {Kind.SEARCH.value}"
            + _shown_by(folder, kind)
        )


def refuse_without_trials(folder: Path) -> None:
    """Raise `UserError` if the run in `folder` is of a kind without trials."""
    kind = kind_of(folder)
    if kind in (Kind.SEARCH, Kind.TRAINING):
        raise UserError(
            f"{folder} is {kind.value}, which has no trials; give the folder of {Kind.TRIALS.value} or of "
            f"{Kind.TUNING.value.removeprefix('a run of ')}"
        )


def refuse_other_kind(folder: Path, wanted: Kind) -> None:
    """Raise `UserError` if the run in `folder`, which is to be resumed, is not of the kind `wanted`."""
    kind = kind_of(folder)
    if kind not in (None, wanted):
        raise UserError(
            f"cannot resume: {folder} is {kind.value}, not {wanted.value}; give the command that started it, or "
            "another --run-dir"
        )


def genotype_of(path: str | Path) -> str:
    """The text of the genotype that the run in a folder has found or trained.

    `path` is a run folder, or the folder of one of its searches. Raises `UserError` if there is no run or no genotype.
    """
    path = Path(path)
    if (path / GENOTYPE).is_file():
        return _read(path / GENOTYPE)
    folder = find_run(path)
    if (folder / GENOTYPE).is_file():
        return _read(folder / GENOTYPE)
    kind = kind_of(folder)
    if kind is Kind.TUNING:
        raise UserError(f"{folder} is {kind.value}, which finds values of settings and no genotype; give a genotype")
    if kind is Kind.TRAINING and (folder / "result.json").is_file():
        return _trained(folder / "result.json")
    searches = sorted(file.parent for file in folder.glob(f"search/*/{GENOTYPE}"))
    if searches:
        raise UserError(
            f"{folder} holds {_count(searches)} with a genotype; give the folder of one of them, such as {searches[0]}"
        )
    raise UserError(f"{folder} has no genotype yet; finish the run with --resume, or give a genotype")


def _trained(file: Path) -> str:
    try:
        return str(json.loads(_read(file))["genotype"])
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{file} has no genotype; is it damaged?") from None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read: {error}") from None


def _count(searches: Sequence[Path]) -> str:
    return "1 search" if len(searches) == 1 else f"{len(searches)} searches"


def _shown_by(folder: Path, kind: Kind | None) -> str:
    """The command that shows a run by trials."""
    return f" (jdarts report {folder} shows this run)" if kind in (Kind.TRIALS, Kind.TUNING) else ""
