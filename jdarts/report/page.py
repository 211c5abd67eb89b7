"""The HTML report of one or several runs: one static file without scripts or external resources."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from jdarts import __version__
from jdarts.report.comparison import comparison
from jdarts.report.records import RunRecord
from jdarts.report.run_sections import run_sections
from jdarts.report.style import CSS


def render(runs: Sequence[RunRecord], *, refresh: int | None = None) -> str:
    """The whole document. `refresh`: seconds after which a browser reloads the file, for running searches."""
    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs compared"
    meta = f'<meta http-equiv="refresh" content="{refresh}"/>' if refresh else ""
    names = unique_names(runs)
    body, links = [], []
    if len(runs) > 1:
        body.append(comparison(runs, names))
        links = [f'<li><a href="#run-{i}">{escape(name)}</a></li>' for i, name in enumerate(names)]
    for i, run in enumerate(runs):
        if len(runs) > 1:
            body.append(f'<h2 id="run-{i}" class="run">{escape(names[i])}</h2>')
        body.append(run_sections(run, prefix=f"r{i}-" if len(runs) > 1 else ""))
    if len(runs) == 1:
        links = [
            f'<li><a href="#{anchor}">{text}</a></li>'
            for anchor, text in (
                ("cells", "Cells"),
                ("curves", "Curves"),
                ("alphas", "Alphas"),
                ("history", "Genotypes"),
                ("seeds", "Seeds"),
                ("configuration", "Configuration"),
            )
        ]
    state = "" if all(run.finished for run in runs) else " · still running or cut off"
    now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>'
        f'{meta}<title>{escape(title)} · jdarts</title><link rel="icon" href="data:,"/>'
        f"<style>{CSS}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><p class="soft">Architecture search report{state}</p>'
        f"<nav><ul>{''.join(links)}</ul></nav></header>"
        f"<main>{''.join(body)}<footer>Written {escape(now)} by jdarts {__version__}.</footer></main></body></html>\n"
    )


def unique_names(runs: Sequence[RunRecord]) -> list[str]:
    """The names of the runs' folders; equal names include the parent folder."""
    names = [run.name for run in runs]
    return [
        name if names.count(name) == 1 else "/".join(run.path.parts[-2:]) for run, name in zip(runs, names, strict=True)
    ]
