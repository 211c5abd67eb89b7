"""One-shot methods: single paths train a supernet; evolution over its paths, with inherited weights, derives a network.

SPOS (Guo et al., ECCV 2020, arXiv:1904.00420): every step trains one uniformly random path; only its weights move.
Published on ImageNet, in the space `spos`: 150,000 iterations of 1,024 images, SGD 0.5 with momentum 0.9, falling
linearly to 0, weight decay 4e-5, batch norm without scale and shift; then 20 generations of 50 candidates of at most
330M multiply–accumulates, each after a recalibration of its batch norms; error of the retrained network 25.6 %. DIFF:
without label smoothing (0.1) and colour jitter; images are normalised, where the code feeds values of 0 to 255; the
recalibration averages the statistics of whole batches, where the code runs an exponential average over 200 batches of
128 images.

With `sampling=macs` a path is uniform in cost: one of `macs_bins` equal intervals of `macs_low` to `macs_high` is
drawn, then a path in it. The authors' code does so, from 290M to 360M in 7 intervals.

FairNAS (Chu et al., ICCV 2021, arXiv:1907.01845): strict fairness. A step trains m paths, which together have every op
of every layer exactly once, each on its own part of the batch; the gradients are summed, and one update follows. Then
NSGA-II finds the front of accuracy, multiply–accumulates and parameters, `front.jsonl` in the run folder; the paper
picks FairNAS-A, -B and -C from it, and here its most accurate network is the result. The published settings of the
supernet are recalled (150 epochs, 256 images a path, SGD 0.045 falling as a cosine, weight decay 4e-5). DIFF: the
sizes of NSGA-II are not known; the variation is Optuna's, uniform crossover of two parents and random mutation.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax

from jdarts import relaxation
from jdarts.config.options import Unless
from jdarts.config.ranges import CountOrOff, Fraction, NonNegative, PositiveInt, Range
from jdarts.derivation import Generations, evolve, pareto_front
from jdarts.errors import UserError
from jdarts.methods.method import Method
from jdarts.methods.paths import Paths, fair_paths, paths_uniform_in_cost, uniform_paths
from jdarts.methods.published import Published
from jdarts.methods.registry import register
from jdarts.methods.resources import chain_costs
from jdarts.networks.edges import EdgeSettings

IMAGENET = {
    "search.weight_optimizer.momentum": 0.9,
    "search.weight_optimizer.nesterov": False,
    "search.weight_optimizer.weight_decay": 4e-5,
    "search.weight_optimizer.gradient_clip": 0.0,
    "search.weight_optimizer.learning_rate_min": 0.0,
}


_BY_COST = Unless("sampling", "uniform")


@dataclass(frozen=True, kw_only=True)
class EvolutionSettings:
    """The evolution at the end of the search, with the constants of SPOS.

    Attributes:
      generations, population, parents, mutation: see `jdarts.derivation.Generations`.
      most_macs: candidates may have at most so many multiply–accumulates, at the size of the images; 0 is no limit.
      recalibration: training batches for the statistics of batch norm of every candidate.
    """

    generations: PositiveInt = 20
    population: Annotated[int, Range(2, 10_000)] = 50
    parents: PositiveInt = 10
    mutation: Fraction = 0.1
    most_macs: NonNegative = 0.0
    recalibration: CountOrOff = 8

    def derive(self, space: Any, p: Any, evaluate: Any, key: Any) -> Any:
        """The candidate of highest accuracy with the shared weights; during the search, where there is no `evaluate`,
        the network with the largest alphas, which do not move: a random one.
        """
        if evaluate is None:
            return space.derive(p)

        def legal(choices):
            return not self.most_macs or evaluate.macs(space.decode(choices)) <= self.most_macs

        scored = evolve(
            space,
            lambda choices: evaluate(space.one_hot(space.decode(choices))),
            Generations(self.population, self.parents, self.mutation),
            generations=self.generations,
            seed=seed_of(key),
            legal=legal,
        )
        return space.decode(max(scored, key=lambda each: each[0])[1])


@dataclass(frozen=True, kw_only=True)
class FrontSettings:
    """The NSGA-II at the end of the search.

    Attributes:
      generations, population: candidates are the product of both.
      most_macs: candidates may have at most so many multiply–accumulates, at the size of the images; 0 is no limit.
      recalibration: training batches for the statistics of batch norm of every candidate.
    """

    generations: PositiveInt = 20
    population: Annotated[int, Range(2, 10_000)] = 50
    most_macs: NonNegative = 0.0
    recalibration: CountOrOff = 8

    def derive(self, space: Any, p: Any, evaluate: Any, key: Any) -> Any:
        """The candidate of highest accuracy with the shared weights; `evaluate.front` then has all of the front.

        During the search, where there is no `evaluate`, the network with the largest alphas: a random one.
        """
        if evaluate is None:
            return space.derive(p)

        def score(choices):
            architecture = space.decode(choices)
            accuracy, size = evaluate(space.one_hot(architecture)), evaluate.size(architecture)
            if math.isnan(accuracy):
                raise UserError(f"a candidate scored nan and cannot be compared: {choices}")
            return accuracy, float(size.macs), float(size.parameters)

        front = pareto_front(
            space,
            score,
            ("maximize", "minimize", "minimize"),
            population=self.population,
            generations=self.generations,
            seed=seed_of(key),
            excess=(lambda choices: evaluate.macs(space.decode(choices)) - self.most_macs) if self.most_macs else None,
        )
        names = ("accuracy", "macs", "parameters")
        evaluate.front = [
            {"genotype": space.decode(each.choices).to_text(), **dict(zip(names, each.values, strict=True))}
            for each in front
        ]
        return space.decode(front[0].choices)


@dataclass(frozen=True, kw_only=True)
class PathSettings:
    """The distribution of the paths that train.

    Attributes:
      sampling: "uniform", or "macs" for paths uniform in their multiply–accumulates.
      macs_low, macs_high, macs_bins: the intervals of these.
      size: side in pixels of the images of the search; only for "macs".
    """

    sampling: Literal["uniform", "macs"] = "uniform"
    macs_low: Annotated[NonNegative, _BY_COST] = 290e6
    macs_high: Annotated[NonNegative, _BY_COST] = 360e6
    macs_bins: Annotated[PositiveInt, _BY_COST] = 7
    size: Annotated[PositiveInt, _BY_COST] = 224

    def paths(self) -> Paths:
        """The paths; raises `UserError` for an empty range of costs."""
        if self.sampling == "uniform":
            return uniform_paths()
        if self.macs_low >= self.macs_high:
            raise UserError(
                f"macs_low is {self.macs_low:g} and macs_high is {self.macs_high:g}; the range of costs is empty"
            )
        return paths_uniform_in_cost(
            lambda space: chain_costs(space, "flops", size=self.size), self.macs_low, self.macs_high, self.macs_bins
        )


@register
def spos(*, evolution: EvolutionSettings = EvolutionSettings(), path: PathSettings = PathSettings()) -> Method:
    """SPOS; the options are those of the evolution and of the paths."""
    return Method(
        name="spos",
        paper="Guo et al., ECCV 2020, arXiv:1904.00420",
        summary="one uniformly random path a step trains the supernet; evolution with its weights finds the network",
        **_one_shot(evolution, path.paths()),
        linear_rate=True,
        options=_limit(evolution) | ({"sizes": {"size": path.size}} if path.sampling == "macs" else {}),
        published=(
            Published(
                "spos",
                "ImageNet top-1 error 25.6 %, 323M multiply–accumulates, after training from scratch",
                {
                    **IMAGENET,
                    "data.train_fraction": 0.96,
                    "data.val_fraction": 0.04,
                    "search.epochs": 120,
                    "search.batch_size": 1024,
                    "search.weight_optimizer.learning_rate": 0.5,
                },
                ("most_macs=330e6", "recalibration=25"),
            ),
        ),
    )


@register
def fairnas(*, evolution: FrontSettings = FrontSettings()) -> Method:
    """FairNAS; the options are those of NSGA-II."""
    return Method(
        name="fairnas",
        paper="Chu et al., ICCV 2021, arXiv:1907.01845",
        summary="strict fairness: a step trains every op of every layer exactly once; NSGA-II finds the front",
        **_one_shot(evolution, fair_paths()),
        options=_limit(evolution),
        published=(
            Published(
                "fairnas",
                "ImageNet top-1 accuracy 75.34 % of FairNAS-A (recalled), after training from scratch",
                {
                    **IMAGENET,
                    "data.train_fraction": 0.96,
                    "data.val_fraction": 0.04,
                    "search.epochs": 150,
                    "search.batch_size": 1536,
                    "search.weight_optimizer.learning_rate": 0.045,
                },
                ("most_macs=400e6",),
            ),
        ),
    )


def _one_shot(evolution: EvolutionSettings | FrontSettings, paths: Paths) -> dict[str, Any]:
    """The choices of both methods; the validation loss in the records is that of another uniform path."""
    return {
        "relax": lambda alphas, key, clock, space: relaxation.uniform_one_hot(alphas, key),
        "derive_weights": relaxation.softmax,
        "paths": paths,
        "edge": EdgeSettings(sampled=True),
        "hypergradient": "first_order",  # never computed
        "alphas_fixed": True,
        "derive": evolution.derive,
        "compares": True,
        "recalibration": evolution.recalibration,
    }


def _limit(evolution: EvolutionSettings | FrontSettings) -> dict[str, Any]:
    """The limit of the candidates, which a search checks before it begins."""
    return {"most_macs": evolution.most_macs} if evolution.most_macs else {}


def seed_of(key: Any) -> int:
    """A seed for NumPy from a PRNG key."""
    return int(jax.random.randint(key, (), 0, 2**31 - 1))
