"""CDARTS (Yu et al. 2022): one loop over two networks, whose genotype is derived again before every epoch.

An epoch has two passes: the evaluation network alone, then both networks (`jdarts.search.cdarts_step`). All that
changes is in `CdartsState`, so that an interrupted search goes on bit for bit. `metrics.jsonl` has the losses of both
networks and the distance of their outputs.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax

from jdarts import staging
from jdarts.genotypes import Genotype
from jdarts.runs.loop import Loop, run_loop
from jdarts.search.cdarts_step import CdartsState, CdartsStep, cdarts_step, with_genotype
from jdarts.search.estimate import tell_memory
from jdarts.search.search import make_search
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import EpochRecords
from jdarts.search.state import SearchState


def search(run: SearchRun) -> tuple[Genotype, SearchState]:
    """Search; the result is the genotype of the last alphas."""
    run = run.split()
    run.reporter.message("compiling the search steps …")
    cycle = Cycle.of(run)
    step, settings = cycle.step, run.config.search
    loop = Loop(
        "search",
        cycle,
        run.loop_settings(2 * step.passes),
        on_epoch_end=cycle.record,
        after_epoch=lambda state, record: with_genotype(step, state, cycle.path(state.search.alphas)),
        suspects=(
            f"search.weight_optimizer.learning_rate {settings.weight_optimizer.learning_rate}, "
            f"search.alpha_optimizer.learning_rate {settings.alpha_optimizer.learning_rate}"
        ),
    )
    final: Any = run_loop(loop, cycle.first, run.folder, reporter=run.reporter, resume=run.resume)
    return run.method.genotype(run.space, final.search.alphas), final.search


@dataclass(eq=False)
class Cycle:
    """The compiled steps and their order; called with a state, it takes the next step.

    Attributes:
      run: the search to run. step: the pure functions. records: the records of an epoch.
      first: the state before the first step.
      alone, warm, joint: the compiled steps.
      done: number of finished steps, read from the first state.
    """

    run: SearchRun
    step: CdartsStep
    records: EpochRecords
    first: Any
    alone: Any
    warm: Any
    joint: Any
    done: int | None = None

    @classmethod
    def of(cls, run: SearchRun) -> "Cycle":
        """The search of a run; compiles its steps, with a message about memory."""
        base = make_search(run.config, run.space, run.search_data, method=run.method)
        step = cdarts_step(run.config, base)
        key = jax.random.key(run.config.seed)
        path = run.space.one_hot(run.space.random_genotype(0))  # of the shape of a path
        state: Any = jax.jit(step.init)(key, path)
        genotype = run.method.genotype(run.space, state.search.alphas)
        state = state.replace(path=run.space.one_hot(genotype))
        shapes, calls = jax.eval_shape(lambda: state), run.config.search.epochs * step.passes
        alone, warm, joint = (
            staging.compile(function, shapes, base.arrays, calls=calls)
            for function in (step.alone, step.warm, step.joint)
        )
        tell_memory(run.reporter, joint, (shapes, base.arrays), run.config)
        return cls(run, step, EpochRecords.of(run, base), state, alone, warm, joint)

    def __call__(self, state: Any) -> tuple[CdartsState, dict[str, jax.Array]]:
        """The next step: of the search network alone, of the evaluation network alone, or of both."""
        self.done = int(state.step) if self.done is None else self.done
        epoch, inside = divmod(self.done, 2 * self.step.passes)
        self.done += 1
        if epoch < self.step.cyclic.pretrain:
            return self.alone(state, self.step.base.arrays)
        return (self.warm if inside < self.step.passes else self.joint)(state, self.step.base.arrays)

    def path(self, alphas: Any) -> Any:
        """The op weights of the genotype of `alphas`."""
        return self.run.space.one_hot(self.run.method.genotype(self.run.space, alphas))

    def record(self, state: Any, epoch: int) -> dict[str, Any]:
        """The record of an epoch: means over the steps that measured a number."""
        alone = epoch <= self.step.cyclic.pretrain
        search: Any = state.search
        twice = 2 if alone else 1  # both passes measured the training loss
        sums = {name: value / twice for name, value in search.sums.items()}
        record = self.records(replace(search, step=state.step, sums=sums), epoch)
        if alone:
            return {name: value for name, value in record.items() if not name.startswith("val_")}
        means = {name: float(state.sums[name]) / self.step.passes for name in state.sums if name not in search.sums}
        return record | means
