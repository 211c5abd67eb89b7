"""Stop rules: `(records, space) -> finished epochs whose genotype is the result, or None to go on`.

A rule is a function of the records of all finished epochs, oldest first: mappings with `epoch` (finished epochs),
`genotype` (text), `alphas` (lists by cell type) and the epoch's metrics. It keeps nothing, so a resumed search decides
as the uninterrupted one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jdarts.derivation import skips_in
from jdarts.errors import UserError
from jdarts.genotype import parse
from jdarts.ops import has_weights
from jdarts.spaces.space import Space

Records = Sequence[Mapping[str, Any]]
NO_CURVATURE = 1e-6
"""Largest eigenvalue, in nats, that counts as none.

The 1,742 published alpha-Hessians leave a wide gap: 1e-10 in dead networks, 6e-4 in the flattest living one."""
Stop = Callable[[Records, Space], int | None]


def too_many_skips(count: int = 2) -> Stop:
    """DARTS+, criterion 1: stop after the first epoch whose normal cell has `count` skip connections or more."""
    if count < 1:
        raise UserError(f"skips is {count}; use at least 1")

    def stop(records: Records, space: Space) -> int | None:
        del space
        last = records[-1]
        return int(last["epoch"]) if skips_in(parse(last["genotype"])) >= count else None

    return stop


def stable_ranking(patience: int = 10) -> Stop:
    """DARTS+, criterion 2: stop when the order of the ops with weights stayed the same on every edge for `patience`
    epochs.
    """
    if patience < 1:
        raise UserError(f"patience is {patience}; use at least 1 epoch")

    def ranking(record: Mapping[str, Any], space: Space) -> list[list[int]]:
        orders = []
        for cell_type, table in space.tables.items():
            for ops, row in zip(table, np.asarray(record["alphas"][cell_type]), strict=True):
                columns = [k for k, op in enumerate(ops) if has_weights(op, 1)]
                orders.append([columns[i] for i in np.argsort(-row[columns], kind="stable")])
        return orders

    def stop(records: Records, space: Space) -> int | None:
        recent = [ranking(record, space) for record in records[-patience - 1 :]]
        same = len(recent) == patience + 1 and all(order == recent[0] for order in recent)
        return int(records[-1]["epoch"]) if same else None

    return stop


def curvature_is_gone(eigenvalues: Sequence[float] | np.ndarray, *, weight_decay: float = 0.0) -> bool:
    """Whether the network of an alpha-Hessian is dead: every eigenvalue equals `weight_decay`, to `NO_CURVATURE`.

    The loss of a dead network does not depend on the alphas any more, so that the decay alone is left. The accuracy
    cannot tell: published searches on SVHN died at 19.0 %, the share of the most frequent class, and living ones have
    stood at 12 %. λ_max = `weight_decay` alone is a weaker test: it also holds where the loss is concave in the alphas.

    Args:
      eigenvalues: all eigenvalues of `∂²L/∂α²`, in nats, in any order.
      weight_decay: the alphas' weight decay if the Hessian includes it, as RobustDARTS' and `dominant_eigenvalue`'s do;
        0 if it does not, as that of `jdarts.analysis.alpha_hessian` by default.
    """
    return bool(np.max(np.abs(np.asarray(eigenvalues) - weight_decay)) <= NO_CURVATURE)


def eigenvalue_growth(*, factor: float = 1.3, window: int = 5, delta: int = 4, every: int = 2, start: int = 10) -> Stop:
    """RobustDARTS: stop when the local average of the dominant eigenvalue has grown by `factor` (Zela et al. 2020,
    code).

    Measured after epochs e = 0, every, 2·every, … (0-based). From ⌈window/2⌉ measurements on there is a local average,
    the mean of the last `window` of them, attributed to epoch e − every · ⌊window/2⌋. If it exceeds `factor` times the
    average of `delta` measurements before, the result is the genotype of that earlier epoch, which must be `start` or
    later: with the defaults epoch e − 12, at e = 22 for the first time. A dead network has small eigenvalues without
    being healthy (`curvature_is_gone`): if the record of that epoch says `alive: false`, the result is the last living
    epoch before it. Between two measurements, an epoch is as alive as the earlier one.
    """
    if min(window, delta, every) < 1 or factor <= 0 or start < 0:
        raise UserError("window, delta and every must be at least 1, factor positive and start 0 or more")

    def stop(records: Records, space: Space) -> int | None:
        del space
        epoch = int(records[-1]["epoch"]) - 1
        if epoch % every:
            return None
        values = [float(r["dominant_eigenvalue"]) for r in records if (int(r["epoch"]) - 1) % every == 0]
        first = -(-window // 2)
        averages = [np.mean(values[max(n - window, 0) : n]) for n in range(first, len(values) + 1)]
        candidate = epoch - every * (window // 2) - every * delta
        if len(averages) <= delta or candidate < start:
            return None
        if averages[-1] <= factor * averages[-1 - delta]:
            return None
        return _last_alive(records, candidate + 1)

    return stop


def _last_alive(records: Records, epoch: int) -> int:
    """The last living epoch up to `epoch`; `epoch` itself if none is known to be alive."""
    alive, found = True, epoch
    for record in records:
        if int(record["epoch"]) > epoch:
            break
        alive = record.get("alive", alive)
        found = int(record["epoch"]) if alive else found
    return found
