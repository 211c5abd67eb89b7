"""Damage of a trained randomly wired network: the accuracy without one node or one edge (Xie et al. 2019, figure 4).

Nothing is trained again. A removed node sends nothing and leaves the mean of the outputs; a removed edge leaves the sum
of its target.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jdarts.analysis.figures import COLOURS, figure, save
from jdarts.data.augment import normalize
from jdarts.errors import UserError
from jdarts.genotypes.random_wiring import RandomlyWired, sinks
from jdarts.networks.wired.network import Kept
from jdarts.runs.folder import RunFolder
from jdarts.search.stored import read_config
from jdarts.train.tasks import TASKS
from jdarts.train.trained import TrainedNetwork, load

RemovedKind = Literal["node", "edge"]


@dataclass(frozen=True)
class RemovedPart:
    """The removal of one part.

    Attributes:
      part: node or edge. stage: number of the random stage. name: the node, or source and target.
      degree: of a node its outgoing edges, of an edge the incoming edges of its target.
      accuracy: in % without the part.
    """

    part: RemovedKind
    stage: int
    name: tuple[int, ...]
    degree: int
    accuracy: float


@dataclass(frozen=True)
class DamageTest:
    """The accuracy in % of the whole network, and of the network without each part."""

    whole: float
    removed: tuple[RemovedPart, ...]

    def loss(self, part: RemovedKind) -> dict[int, float]:
        """The mean loss of accuracy in points for the removal of a part, by degree."""
        by_degree: dict[int, list[float]] = {}
        for each in self.removed:
            if each.part == part:
                by_degree.setdefault(each.degree, []).append(self.whole - each.accuracy)
        return {degree: float(np.mean(by_degree[degree])) for degree in sorted(by_degree)}


def damage(network: TrainedNetwork, images: np.ndarray, labels: np.ndarray, *, batch: int = 256) -> DamageTest:
    """Remove every node and every edge in turn; the removal is an input of one compiled program.

    Args:
      network: of a randomly wired genotype.
      images: uint8 `[N, H, W, C]`. labels: `[N]`. batch: images of a call; a remainder is left out.

    Raises `UserError` for a network of another kind and for fewer images than a batch.
    """
    wiring = network.genotype
    if not isinstance(wiring, RandomlyWired):
        raise UserError("the damage test removes nodes of a randomly wired network; train one")
    batch = min(batch, len(images))
    if batch == 0:
        raise UserError("the damage test needs at least one image")
    rows = [slice(first, first + batch) for first in range(0, len(images) - batch + 1, batch)]

    @jax.jit
    def share(kept: Sequence[Kept], images: Any, labels: Any) -> jax.Array:
        normal = normalize(images, mean=network.mean, std=network.std)
        logits, _ = network.module.apply(network.variables, normal, False, None, kept)
        return jnp.mean(jnp.argmax(logits, axis=-1) == labels)

    def accuracy(kept: Sequence[Kept]) -> float:
        return 100 * float(np.mean([float(share(kept, images[r], labels[r])) for r in rows]))

    found = [
        RemovedPart(part, stage, name, degree, accuracy(without))
        for part, stage, name, degree, without in _removals(wiring)
    ]
    return DamageTest(accuracy(whole(wiring)), tuple(found))


def analyze_damage(run: str | Path, *, most: int = 1000) -> Path:
    """The damage test of a training, on its first `most` test images: `damage.json` and a figure in `RUN/analysis`.

    Returns the path of the JSON file: accuracies in %, and mean losses in points by degree. Raises `UserError` for a
    training of another network, and for data without test images or with streamed ones.
    """
    config = read_config(Path(run))
    data = TASKS[config.train.task].load(config.data)
    if getattr(data.test, "images", None) is None:
        raise UserError(f"the data of {run} have no test images in memory, on which the damage test measures")
    found = damage(load(run), data.test.images[:most], data.test.labels[:most])
    folder = Path(run) / "analysis"
    folder.mkdir(exist_ok=True)
    save(damage_figure(found), folder, "damage")
    losses = {part: found.loss(part) for part in ("node", "edge")}
    removed = [asdict(each) for each in found.removed]
    return RunFolder(folder).write_json("damage.json", {"whole": found.whole, "loss": losses, "removed": removed})


def whole(wiring: RandomlyWired) -> list[dict[str, np.ndarray]]:
    """The factors with which nothing is removed."""
    return [
        {"edges": np.ones(sum(map(len, graph)), np.float32), "nodes": np.ones(len(graph), np.float32)}
        for graph in wiring.stages
    ]


def _removals(wiring: RandomlyWired):
    """RemovedKind, stage, name, degree and factors of every removal; a node that alone makes up the output stays."""
    for stage, graph in enumerate(wiring.stages):
        edges = [(source, target) for target, sources in enumerate(graph) for source in sources]
        for node in range(len(graph)):
            if sinks(graph) != (node,):
                degree = sum(source == node for source, _ in edges)
                yield "node", stage, (node,), degree, _without(wiring, stage, "nodes", node)
        for i, (source, target) in enumerate(edges):
            yield "edge", stage, (source, target), len(graph[target]), _without(wiring, stage, "edges", i)


def _without(wiring: RandomlyWired, stage: int, kind: str, index: int) -> list[dict[str, np.ndarray]]:
    kept = whole(wiring)
    kept[stage][kind][index] = 0
    return kept


def damage_figure(test: DamageTest) -> Figure:
    """Loss of accuracy by out-degree of the removed node, and by in-degree of the removed edge's target."""
    fig, axes = figure(2)
    labels = {"node": "outgoing edges of the removed node", "edge": "incoming edges of the removed edge's target"}
    for axis, (part, label), colour in zip(axes, labels.items(), COLOURS, strict=False):
        means = test.loss(part)  # pyright: ignore[reportArgumentType]
        points = [each for each in test.removed if each.part == part]
        axis.plot([p.degree for p in points], [test.whole - p.accuracy for p in points], ".", color=colour, alpha=0.35)
        axis.plot(list(means), list(means.values()), "o-", color=colour)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set(xlabel=label, ylabel="loss of accuracy, points")
    return fig
