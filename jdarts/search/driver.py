"""Run a search: from a configuration and data to a genotype, with records, checkpoints and resume."""

import jax

from jdarts import staging
from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.genotype import Genotype
from jdarts.loop import Schedule, run_loop
from jdarts.relaxation import entropy
from jdarts.report.console import Reporter
from jdarts.run_folder import RunFolder
from jdarts.search.state import SearchState
from jdarts.search.step import METRICS, make_search
from jdarts.spaces.space import Space


def run_search(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    resume: bool = False,
    reporter: Reporter,
) -> tuple[Genotype, SearchState]:
    """Search, and return the genotype of the last epoch with the final state.

    Writes into `run`: `metrics.jsonl` and `genotypes.jsonl` (one record an epoch, the last included), checkpoints.
    Raises `UserError` for settings that do not fit the data before anything compiles; see `run_loop` for the rest.
    """
    search_data = data.for_search(config.data)
    key = jax.random.key(config.seed)
    reporter.message("compiling the search step …")
    if jax.default_backend() == "cpu":
        pieces = staging.Pieces()
        search = make_search(config, space, search_data, stage=pieces)
        pieces.compile_all(lambda key, arrays: search.step(search.init(key), arrays), key, search.arrays)
        init, step = search.init, search.step
    else:
        search = make_search(config, space, search_data)
        init, step = jax.jit(search.init), jax.jit(search.step, donate_argnums=0)
    state = init(key)

    def on_epoch(state: SearchState, epoch: int) -> dict[str, float]:
        weights = search.method.deterministic_weights(state.alphas)
        genotype = search.method.genotype(space, state.alphas)
        run.append(
            "genotypes",
            {
                "step": int(state.step),
                "epoch": epoch,
                "genotype": genotype.to_text(),
                "alphas": {name: jax.device_get(a).tolist() for name, a in state.alphas.items()},
            },
        )
        record = {name: float(state.sums[name]) / search.steps_per_epoch for name in METRICS}
        return {**record, "alpha_entropy": float(entropy({c: weights[c] for c in space.alpha_shapes}))}

    settings = config.search
    optimizer = settings.weight_optimizer
    state = run_loop(
        "search",
        state,
        lambda s: step(s, search.arrays),
        schedule=Schedule(
            epochs=settings.epochs,
            steps_per_epoch=search.steps_per_epoch,
            checkpoint_every=settings.checkpoint_every,
            checkpoint_every_steps=settings.checkpoint_every_steps,
            keep_checkpoints=settings.keep_checkpoints,
        ),
        run=run,
        reporter=reporter,
        resume=resume,
        on_epoch=on_epoch,
        suspects=(
            f"search.weight_optimizer.learning_rate {optimizer.learning_rate}, "
            f"gradient_clip {optimizer.gradient_clip}, "
            f"search.alpha_optimizer.learning_rate {settings.alpha_optimizer.learning_rate}"
        ),
    )
    return search.method.genotype(space, state.alphas), state
