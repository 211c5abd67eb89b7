"""Stop rules: `(records, space) -> finished epochs whose genotype is the result, or None to continue`.

A rule is a function of the records of all finished epochs, oldest first. A record is a mapping with `epoch` (the number
of finished epochs), `genotype` (text), `alphas` (lists by cell type) and the metrics of the epoch. A rule has no state,
so a resumed search makes the same decisions as an uninterrupted one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from jdarts.derivation import skips_in
from jdarts.errors import UserError
from jdarts.genotypes import parse_result
from jdarts.ops.candidates import has_weights
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
        return int(last["epoch"]) if skips_in(parse_result(last["genotype"])) >= count else None

    return stop


def stable_ranking(patience: int = 10) -> Stop:
    """DARTS+, criterion 2: stop when the ranking of the ops with weights has not changed on any edge for `patience`
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
    """True if the alpha-Hessian is that of a dead network: all eigenvalues equal `weight_decay`, to `NO_CURVATURE`.

    The loss of a dead network no longer depends on the alphas, so the Hessian contains only the weight decay. Accuracy
    does not reveal this: published searches on SVHN died at 19.0 %, the share of the most frequent class, and living
    ones were at 12 %. λ_max = `weight_decay` alone is a weaker test: it also holds where the loss is concave in the
    alphas.

    Args:
      eigenvalues: all eigenvalues of `∂²L/∂α²`, in nats, in any order.
      weight_decay: the alphas' weight decay if the Hessian includes it, as RobustDARTS' and `dominant_eigenvalue`'s do;
        0 if it does not, as that of `jdarts.analysis.alpha_hessian` by default.
    """
    return bool(np.max(np.abs(np.asarray(eigenvalues) - weight_decay)) <= NO_CURVATURE)


def eigenvalue_growth(*, factor: float = 1.3, window: int = 5, delta: int = 4, every: int = 2, start: int = 10) -> Stop:
    """RobustDARTS: stop when the local average of the dominant eigenvalue has grown by `factor` (Zela et al. 2020,
    code).

    The eigenvalue is measured after the epochs e = 0, every, 2·every, … (0-based). Once there are ⌈window/2⌉
    measurements, the local average is the mean of the last `window` of them and belongs to epoch
    e − every · ⌊window/2⌋. The rule compares it with the average that is `delta` measurements older. If the new average
    exceeds `factor` times the old one, the search returns the genotype of the old one's epoch, provided that this epoch
    is `start` or later. With the defaults it is epoch e − 12, and the first possible stop is at e = 22.

    A dead network has small eigenvalues without being healthy (`curvature_is_gone`). If the record of the old epoch
    says `alive: false`, the search returns the last living epoch before it. An epoch without a measurement counts as
    alive if the last measured epoch before it was alive.
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
