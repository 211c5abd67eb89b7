"""The style sheet of reports: light and dark by `prefers-color-scheme`, from phones to wide screens, and for paper."""

OPS = {  # families of ops, in the hues of the drawings of cells: value on light, on dark screens
    "none": ("#8a93a0", "#8b96a3"),
    "skip": ("#12804f", "#4fd08a"),
    "max": ("#c25400", "#ff9d4d"),
    "avg": ("#927000", "#e0c04f"),
    "sep": ("#0b61a4", "#79b8f0"),
    "dil": ("#7d4bb5", "#c3a0ee"),
    "nor": ("#0b61a4", "#79b8f0"),
    "conv": ("#0f7f8c", "#53c7d4"),
    "noise": ("#b03a5b", "#f08ba6"),
}

COLOURS = {  # name of the CSS variable: value on light, on dark screens
    "page": ("#f5f6f8", "#0e131a"),
    "card": ("#ffffff", "#171e27"),
    "ink": ("#1b2430", "#e6ebf1"),
    "soft": ("#566170", "#a7b3c1"),
    "rule": ("#dfe3e8", "#2b3541"),
    "accent": ("#0b61a4", "#79b8f0"),
    "warn": ("#8a4b00", "#ffc27a"),
    "warn-card": ("#fff4e2", "#33260f"),
    "code": ("#eef1f4", "#212a35"),
    "shade": ("#1b243033", "#000000b3"),
    "s0": ("#0b61a4", "#79b8f0"),
    "s1": ("#c25400", "#ff9d4d"),
    "s2": ("#00795a", "#4fd0a5"),
    "s3": ("#a8437f", "#ea8ec4"),
    "s4": ("#6a5200", "#e0c04f"),
    "s5": ("#2a8fc4", "#a9dcff"),
    "s6": ("#5b6675", "#9fabb9"),
    "s7": ("#8c2d04", "#ff8a65"),
    **OPS,
}
"""Colours of the page, of series (s0 … s7) and of ops."""

_RULES = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main, header { max-width: 1240px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; } main { padding-bottom: 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 34px 0 10px; overflow-wrap: anywhere; } h3 { font-size: 1rem; margin: 20px 0 8px; }
p { margin: 6px 0; } .soft { color: var(--soft); }
a { color: var(--accent); } nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; margin: 12px 0 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px; margin: 10px 0; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; margin: 14px 0; }
.facts div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; }
.facts b { display: block; font-size: 1.2rem; line-height: 1.3; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .82rem; line-height: 1.35; display: block; }
.card h3 { margin-top: 2px; } .card ul { margin: 6px 0; padding-left: 22px; }
.warning { background: var(--warn-card); border-color: var(--warn); } .warning b { color: var(--warn); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 12px; }
.heats { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(225px, 100%), 1fr)); gap: 10px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; min-width: 0; }
figcaption { font-weight: 600; font-size: .92rem; margin-bottom: 2px; } .small { padding: 8px 10px; } .small figcaption { font-size: .82rem; }
svg.chart { width: 100%; max-width: 540px; height: auto; display: block; margin: 0 auto; overflow: visible; } .chart text { font-family: inherit; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 12px; padding: 0; margin: 2px 0 4px; font-size: .8rem; color: var(--soft); overflow-wrap: anywhere; }
.swatch { width: 26px; height: 8px; margin-right: 5px; vertical-align: middle; }
.heat { display: grid; grid-template-columns: minmax(0, max-content) minmax(45%, 1fr); gap: 1px 7px; align-items: center; }
.heat span { font-size: 11.5px; line-height: 15px; color: var(--soft); text-align: right; overflow-wrap: anywhere; }
.heat img { width: 100%; height: 15px; image-rendering: pixelated; } .ends { display: flex; justify-content: space-between; }
.scale { display: flex; align-items: center; gap: 8px; font-size: .82rem; color: var(--soft); flex-wrap: wrap; } .scale img { width: 180px; height: 12px; }
.scroll { overflow-x: auto; overflow-wrap: normal; background: linear-gradient(to right, var(--card) 30%, transparent) left / 44px 100% local,
  linear-gradient(to left, var(--card) 30%, transparent) right / 44px 100% local,
  linear-gradient(to right, var(--shade), transparent) left / 14px 100% scroll, linear-gradient(to left, var(--shade), transparent) right / 14px 100% scroll, var(--card);
  background-repeat: no-repeat; }
.drawing svg { display: block; height: auto; margin: 0 auto; width: var(--width); max-width: 100%; min-width: calc(0.77 * var(--width)); }
td details summary { margin: 0; }
svg.parallel { display: block; width: 100%; min-width: 1130px; height: auto; } .parallel text { fill: var(--soft); }
.parallel .tick { paint-order: stroke; stroke: var(--card); stroke-width: 3px; } .parallel .axis { fill: var(--ink); }
.hint, .as-text { display: none; } pre { font: 13px/1.35 ui-monospace, "DejaVu Sans Mono", monospace; margin: 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
code { background: var(--code); border-radius: 4px; padding: 1px 4px; font-size: .84em; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
details summary { cursor: pointer; color: var(--accent); margin: 6px 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 0 28px; align-items: start; }
.columns > div { min-width: 0; }
footer { color: var(--soft); font-size: .82rem; margin-top: 36px; }
@media (max-width: 700px) { .hint, .as-text { display: block; } .drawing svg { min-width: calc(0.9 * var(--width)); } h1 { font-size: 1.35rem; } .facts { grid-template-columns: 1fr 1fr; } }
@media print { body { background: white; } figure, .card, .facts div { break-inside: avoid; } }
"""


def _variables(column: int) -> str:
    return " ".join(f"--{name}: {values[column]};" for name, values in COLOURS.items())


CSS = f""":root {{ color-scheme: light dark; {_variables(0)} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_variables(1)} }} .drawing svg {{ filter: invert(0.92) hue-rotate(180deg); }} }}
{_RULES}"""
