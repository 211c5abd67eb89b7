"""The reproductions by name, and the run of one: checks, experiment, and the files of its results."""

from pathlib import Path

from jdarts.errors import UserError, unknown
from jdarts.report.words import aligned
from jdarts.reproduce import (
    darts_cifar10,
    imagenet,
    macro,
    nasbench201,
    ptb,
    random_wiring,
    robust_spaces,
    single_darts,
)
from jdarts.reproduce.experiment import INPUTS, SCALES, Findings, Reproduction, Setting
from jdarts.runs.folder import RunFolder

_MODULES = (darts_cifar10, imagenet, macro, nasbench201, ptb, random_wiring, robust_spaces, single_darts)
REPRODUCTIONS: dict[str, Reproduction] = {
    reproduction.name: reproduction for reproduction in (module.REPRODUCTION for module in _MODULES)
}


def names() -> tuple[str, ...]:
    """The names of all reproductions."""
    return tuple(REPRODUCTIONS)


def get(name: str) -> Reproduction:
    """The reproduction of that name; raises `UserError` if there is none."""
    if name not in REPRODUCTIONS:
        raise unknown("reproduction", name, REPRODUCTIONS)
    return REPRODUCTIONS[name]


def check(name: str, setting: Setting) -> Reproduction:
    """The reproduction, after `UserError`s about an unknown scale and inputs that are missing or have no effect."""
    found = get(name)
    if setting.scale not in SCALES:
        raise unknown("scale", setting.scale, SCALES)
    needed = found.inputs[setting.scale]
    for option in INPUTS:
        value = getattr(setting, option)
        if option in needed and not value:
            raise UserError(f"reproduce {name} at scale {setting.scale} needs --{option}; or use --scale smoke")
        if value and option not in (*needed, *found.optional):
            raise UserError(f"reproduce {name} at scale {setting.scale} does not read --{option}; leave it out")
        if value and not Path(value).exists():
            raise UserError(f"--{option} {value} does not exist; give an existing file or folder")
    if setting.seeds is not None and setting.seeds < 1:
        raise UserError(f"--seeds is {setting.seeds}; use at least 1")
    return found


def run(name: str, setting: Setting) -> Findings:
    """Run what the folder lacks, and write `results.md`, `results.json` and the figures into it.

    Raises `UserError` for missing inputs, for a folder that holds something else, and for runs of another setting.
    """
    found = check(name, setting)
    try:
        setting.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot use the folder {setting.folder}: {error.strerror or error}") from None
    findings = found.run(setting)
    folder = RunFolder(setting.folder)
    folder.write_text("results.md", text_of(found, setting, findings))
    folder.write_json("results.json", {"name": name, "scale": setting.scale, **findings.values})
    for figure_name, figure in findings.figures.items():
        figure.savefig(setting.folder / f"{figure_name}.png", dpi=160)
        figure.savefig(setting.folder / f"{figure_name}.svg", metadata={"Date": None})
    return findings


def text_of(found: Reproduction, setting: Setting, findings: Findings) -> str:
    """The results as Markdown."""
    parts = [f"# {found.name}, scale {setting.scale}", found.summary, f"Protocol: {found.differences[setting.scale]}"]
    for sheet in findings.sheets:
        parts += [f"## {sheet.title}", aligned(sheet.rows), *([sheet.note] if sheet.note else [])]
    parts.append("Published numbers with a ? are recalled, not checked against the paper.")
    return "\n\n".join(parts) + "\n"


def described(found: Reproduction) -> str:
    """The runs of a reproduction at each scale, and the published numbers."""
    parts = [f"{found.name}: {found.summary}"]
    for scale, cost in found.costs.items():
        needed = " ".join(f"--{option} PATH" for option in found.inputs[scale]) or "no files"
        parts.append(f"{scale} ({needed})\n  cost: {cost}\n  protocol: {found.differences[scale]}")
    for table in found.tables:
        parts += [table.title, aligned(table.cells())]
    return "\n\n".join(parts)
