"""The style sheet of reports: light and dark by `prefers-color-scheme`, from phones to wide screens, and for paper."""

_LIGHT = """
  --page: #f5f6f8; --card: #ffffff; --ink: #1b2430; --soft: #5b6675; --rule: #dfe3e8; --accent: #0b61a4;
  --good: #11734f; --warn: #8a4b00; --warn-card: #fff4e2; --code: #eef1f4;
  --s0: #0b61a4; --s1: #c25400; --s2: #00795a; --s3: #a8437f; --s4: #6a5200; --s5: #2a8fc4; --s6: #5b6675; --s7: #8c2d04;
  --q0: #eef4fa; --q1: #d9e7f3; --q2: #c2d9ec; --q3: #a5c8e3; --q4: #82b3d8; --q5: #5f9bca; --q6: #4082b8;
  --q7: #28689f; --q8: #154f82; --q9: #083661;
  --op-none: #8a93a0; --op-skip: #12804f; --op-max: #c25400; --op-avg: #927000; --op-sep: #0b61a4; --op-dil: #7d4bb5;
  --op-nor: #0b61a4; --op-conv: #0f7f8c; --op-noise: #b03a5b; --drawing: none;
"""
_DARK = """
  --page: #0e131a; --card: #171e27; --ink: #e6ebf1; --soft: #9fabb9; --rule: #2b3541; --accent: #79b8f0;
  --good: #5fd0a2; --warn: #ffc27a; --warn-card: #33260f; --code: #212a35;
  --s0: #79b8f0; --s1: #ff9d4d; --s2: #4fd0a5; --s3: #ea8ec4; --s4: #e0c04f; --s5: #a9dcff; --s6: #9fabb9; --s7: #ff8a65;
  --q0: #1c2733; --q1: #1d3348; --q2: #1d405e; --q3: #1e4f76; --q4: #25618f; --q5: #3577a8; --q6: #4f90c0;
  --q7: #73abd5; --q8: #a0c8e8; --q9: #d6eaf9;
  --op-none: #8b96a3; --op-skip: #4fd08a; --op-max: #ff9d4d; --op-avg: #e0c04f; --op-sep: #79b8f0; --op-dil: #c3a0ee;
  --op-nor: #79b8f0; --op-conv: #53c7d4; --op-noise: #f08ba6; --drawing: invert(0.92) hue-rotate(180deg);
"""

_RULES = """
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif; }
main, header { max-width: 1240px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 28px; } main { padding-bottom: 48px; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 34px 0 10px; } h3 { font-size: 1rem; margin: 20px 0 8px; }
p { margin: 6px 0; } .soft, .unit { color: var(--soft); } .unit { font-weight: 400; }
a { color: var(--accent); } nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 0; margin: 12px 0 0; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 14px 16px; margin: 10px 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; margin: 14px 0; }
.facts div { background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; }
.facts b { display: block; font-size: 1.2rem; line-height: 1.3; white-space: nowrap; font-variant-numeric: tabular-nums; }
.facts span { color: var(--soft); font-size: .82rem; line-height: 1.35; display: block; }
.card h3 { margin-top: 2px; } .card ul { margin: 6px 0; padding-left: 22px; }
.warning { background: var(--warn-card); border-color: var(--warn); } .warning b { color: var(--warn); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 12px; }
.heats { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 10px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px; padding: 10px 12px; }
figure.small { padding: 6px 8px; border-radius: 8px; }
figcaption { font-weight: 600; font-size: .92rem; } .small figcaption { font-size: .78rem; font-weight: 600; }
svg.chart, svg.heat { width: 100%; height: auto; display: block; }
.grid { stroke: var(--rule); stroke-width: 1; } .tick, .label { fill: var(--soft); font-size: 12px; }
.op { fill: var(--soft); font-size: 9px; } .mark { stroke: var(--warn); stroke-width: 1.5; stroke-dasharray: 3 3; }
.line { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; } .dot { fill: currentColor; }
.band { fill: currentColor; opacity: .18; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 12px; padding: 0; margin: 2px 0 4px; font-size: .8rem; color: var(--soft); }
.swatch { width: 22px; height: 8px; margin-right: 5px; vertical-align: middle; }
.scale { display: flex; align-items: center; gap: 8px; font-size: .82rem; color: var(--soft); flex-wrap: wrap; } .bar { width: 180px; height: 12px; }
.scroll { overflow-x: auto; } .drawing { background: var(--card); } .drawing svg { filter: var(--drawing); display: block; max-width: 100%; min-width: 640px; height: auto; margin: 0 auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; } tr.changed td { font-weight: 600; color: var(--accent); }
code { background: var(--code); border-radius: 4px; padding: 1px 4px; font-size: .84em; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
details summary { cursor: pointer; color: var(--accent); margin: 6px 0; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(420px, 100%), 1fr)); gap: 0 28px; align-items: start; }
footer { color: var(--soft); font-size: .82rem; margin-top: 36px; }
@media (max-width: 600px) { .heats { grid-template-columns: 1fr 1fr; } h1 { font-size: 1.35rem; } .facts { grid-template-columns: 1fr 1fr; } }
@media print { body { background: white; } figure, .card, .facts div { break-inside: avoid; } }
"""

_SERIES = "".join(f".s{i} {{ color: var(--s{i}); }} " for i in range(8))
_STEPS = "".join(f".q{i} {{ fill: var(--q{i}); }} " for i in range(10))
_OPS = "".join(
    f".op-{kind} {{ color: var(--op-{kind}); }} "
    for kind in ("none", "skip", "max", "avg", "sep", "dil", "nor", "conv", "noise")
)

CSS = f""":root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
{_RULES}
{_SERIES}
{_STEPS}
{_OPS}
"""
