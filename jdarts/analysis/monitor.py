"""Monitoring during a search: eigenvalue trajectories, and warnings of a collapse with the numbers that show it.

`monitor_hooks` returns the hooks that a search calls after every epoch (`jdarts.search.hooks`). Their results are added
to the record of the epoch in `metrics.jsonl`. The hooks have no state and read the history from that file, so a resumed
search gives the same warnings as an uninterrupted one.
"""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from jdarts.analysis import indicators
from jdarts.analysis.alpha_hessian import alpha_hessian
from jdarts.analysis.compiling import compile_pieces
from jdarts.analysis.live import LiveSearch
from jdarts.config import Experiment, SearchConfig
from jdarts.data import SearchData
from jdarts.data.text import TextData
from jdarts.genotypes import Genotype
from jdarts.runs.folder import RunFolder
from jdarts.search.found import untrained
from jdarts.search.hooks import EpochEnd, Hook, HooksOf, Record, Warn
from jdarts.search.search import Search
from jdarts.search.streams import last_arrays
from jdarts.spaces.per_cell import PerCellSpace
from jdarts.spaces.recurrent import RecurrentSpace
from jdarts.spaces.space import Space
from jdarts.stopping import curvature_is_gone

PARAMETER_FREE_SHARE = 0.8
"""Warn if more than this share of the edges have no weights (skips, pooling)."""
EARLY_ENTROPY = 0.5
"""Warn if the mean relative entropy of the edges is below this in the first half of the epochs."""
OF_THE_NORMAL_CELL = ("normal_skips", "normal_parameter_free", "normal_edges", "skip_dominance")
EIGENVALUE_WINDOW, EIGENVALUE_LAG, EIGENVALUE_GROWTH = 5, 4, 1.3
"""The rule of the RobustDARTS code: the local mean of 5 measurements over the local mean 4 measurements earlier."""


def monitor_hooks(config: Experiment, search: Search) -> HooksOf:
    """The hooks of the `jdarts` command: eigenvalues every `search.hessian_every` epochs, then the collapse monitor.

    All searches of a program share the compiled Hessian.
    """
    measure = [eigenvalue_hook(config, search)] if config.search.hessian_every else []
    return lambda own, run, warn: [*measure, collapse_hook(own, search, run, warn)]


def eigenvalue_hook(config: Experiment, search: Search) -> Hook:
    """The hook that measures the spectrum of the exact alpha-Hessian.

    It measures every `search.hessian_every` epochs and after the last epoch, as RobustDARTS does: validation
    cross-entropy on the last batch of the alphas, fixed weights, batch statistics in batch norm. The weight decay that
    their code adds is left out. Entries: `alpha_hessian_eigenvalues` (all, largest first), `dominant_eigenvalue`,
    `alive` (True if any curvature is left), `alpha_gradient_norm`, `alpha_hessian_seconds`. If the method measures
    `dominant_eigenvalue`, which includes the decay, that value is kept.
    """
    watched: list[LiveSearch] = []
    every, arrays_of = config.search.hessian_every, last_arrays(config, search)

    def hook(end: EpochEnd) -> dict[str, Any]:
        if end.epoch % every and end.epoch != config.search.epochs:
            return {}
        started = time.monotonic()
        state, data = end.state(), cast(SearchData | TextData, search.data)
        live = watched[0].at(state) if watched else LiveSearch(config, search.space, data, search, state)
        watched[:] = [live]
        batch = live.last_alpha_batch(arrays_of(state))
        hessian = alpha_hessian(live.loss(train=True), live.w, live.alphas, [batch], compile=compile_pieces)
        return {
            "dominant_eigenvalue": end.record.get("dominant_eigenvalue", hessian.max_eigenvalue),
            "alive": search.method.alphas_fixed
            or not curvature_is_gone(hessian.eigenvalues, weight_decay=hessian.weight_decay),
            "alpha_hessian_eigenvalues": [float(f"{value:.6g}") for value in hessian.eigenvalues],
            "alpha_gradient_norm": float(np.linalg.norm(hessian.gradient)),
            "alpha_hessian_seconds": round(time.monotonic() - started, 3),
        }

    return hook


def collapse_hook(config: Experiment, search: Search, run: RunFolder, warn: Warn) -> Hook:
    """The hook that counts skips, measures entropy and margin, and warns when a rule of `findings` first applies.

    Entries: `normal_skips`, `normal_parameter_free`, `normal_edges` of the derived cell, `relative_entropy`, `margin`,
    `skip_dominance`, and `warnings` (a list of `{"rule", "text"}`, only in the epoch of the warning). There are no
    warnings for methods that never move their alphas, since their derived cell is noise from the initialisation.
    Networks without a normal cell, and recurrent cells, have no entries about it; spaces without alphas none at all.
    """
    if not search.space.tables:
        return lambda end: {}
    space, fixed = search.space, search.method.alphas_fixed
    recurrent = isinstance(space, RecurrentSpace)
    left_out = OF_THE_NORMAL_CELL if recurrent or untrained(config, space.tables) else ()

    def hook(end: EpochEnd) -> dict[str, Any]:
        weights = search.method.deterministic_weights(space, end.alphas)
        own = collapse_indicators(weights, space, search.method.genotype(space, end.alphas))
        own = {name: value for name, value in own.items() if name not in left_out}
        history = [*run.records("metrics"), {"epoch": end.epoch, **end.record, **own}]
        warned = {warning["rule"] for past in history for warning in past.get("warnings") or ()}
        found = [] if fixed else findings(history, config.search)
        fresh = [{"rule": rule, "text": text} for rule, text in found if rule not in warned]
        for warning in fresh:
            warn(f"epoch {end.epoch}: {warning['text']}")
        return {**own, "warnings": fresh} if fresh else own

    return hook


def collapse_indicators(
    op_weights: Mapping[str, Any], space: Space, genotype: Genotype | None = None
) -> dict[str, Any]:
    """The numbers that the rules use, from the op weights of one epoch and the genotype derived from them."""
    tables = space.tables
    p: dict[str, Any] = {name: np.asarray(op_weights[name]) for name in tables}
    counts = indicators.normal_counts(genotype or space.derive(p))
    leads = [indicators.skip_dominance(p[name], tables[name]) for name in normal_names(space)]
    return {
        "normal_skips": indicators.skip_count(counts),
        "normal_parameter_free": sum(n for op, n in counts.items() if op in indicators.PARAMETER_FREE),
        "normal_edges": sum(counts.values()),
        "relative_entropy": float(np.mean(np.concatenate([indicators.entropies(x) for x in p.values()]))),
        "margin": float(np.mean(np.concatenate([indicators.margins(x) for x in p.values()]))),
        "skip_dominance": float(np.mean(leads)),
    }


def normal_names(space: Space) -> list[str]:
    """The normal cells among the cells with alphas: "normal", the only cell of NAS-Bench-201, or each normal cell."""
    if isinstance(space, PerCellSpace):
        normal = [name for name, kind in space.kinds.items() if kind != "reduce"]
        return normal or list(space.kinds)
    return [next(iter(space.tables))]


def findings(history: Sequence[Record], settings: SearchConfig) -> list[tuple[str, str]]:
    """`(rule, text)` of every rule that applies after the last epoch of `history`; the text has the numbers."""
    if not history:
        return []
    last, found = history[-1], []
    edges = last.get("normal_edges") or 0
    if edges and last["normal_skips"] > indicators.SKIP_SHARE * edges:
        found.append(
            (
                "skips",
                f"{last['normal_skips']} of {edges} edges of the normal cell are skip connections "
                f"(mean lead of skip over the best learnable op {_signed(last.get('skip_dominance'))}): the search is "
                "collapsing; consider an auxiliary skip (DARTS-), stronger regularisation or stopping earlier",
            )
        )
    elif edges and last["normal_parameter_free"] > PARAMETER_FREE_SHARE * edges:
        found.append(
            (
                "parameter-free",
                f"{last['normal_parameter_free']} of {edges} edges of the normal cell carry no weights (skips and "
                "pooling): the derived network can learn little",
            )
        )
    entropy = last.get("relative_entropy")
    if entropy is not None and entropy < EARLY_ENTROPY and 2 * last["epoch"] < settings.epochs:
        found.append(
            (
                "entropy",
                f"the alphas are nearly decided after {last['epoch']} of {settings.epochs} epochs (entropy "
                f"{entropy:.2f} of its maximum, margin {last['margin']:.2f}): lower "
                f"search.alpha_optimizer.learning_rate ({settings.alpha_optimizer.learning_rate:g}) or train the "
                "weights longer first",
            )
        )
    if last.get("alive") is False:
        found.append(
            (
                "dead",
                f"the loss does not depend on the alphas any more (all curvature is gone; validation accuracy "
                f"{_percent(last.get('val_accuracy'))}): the network is dead, and its small eigenvalues are no sign of "
                f"health; lower search.weight_optimizer.weight_decay "
                f"({settings.weight_optimizer.weight_decay:g}) or learning_rate "
                f"({settings.weight_optimizer.learning_rate:g}), or take an earlier genotype",
            )
        )
    growth = eigenvalue_growth([r["dominant_eigenvalue"] for r in history if _measured(r)])
    if growth is not None and growth[0] > EIGENVALUE_GROWTH and _measured(last):
        found.append(
            (
                "eigenvalue",
                f"the largest eigenvalue of the alpha-Hessian grew by {growth[0]:.2f} (mean {growth[2]:.3g} to "
                f"{growth[1]:.3g} over {EIGENVALUE_LAG} measurements; RobustDARTS stops at {EIGENVALUE_GROWTH}): "
                "an earlier genotype may generalise better; see genotypes.jsonl",
            )
        )
    return found


def eigenvalue_growth(values: Sequence[float]) -> tuple[float, float, float] | None:
    """`(ratio, now, before)` of RobustDARTS' local means; None if there are too few measurements."""

    def local(k: int) -> float:
        return float(np.mean(values[max(0, k - EIGENVALUE_WINDOW + 1) : k + 1]))

    now = len(values) - 1
    before = now - EIGENVALUE_LAG
    if before < EIGENVALUE_WINDOW // 2 or local(before) <= 0:
        return None
    return local(now) / local(before), local(now), local(before)


def _measured(record: Record) -> bool:
    return record.get("dominant_eigenvalue") is not None


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def _signed(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:+.3f}"
