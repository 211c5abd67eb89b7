"""Several seeds in one program, compared with the same searches run one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from jdarts import staging
from jdarts.bench.steps import Say
from jdarts.bench.timing import Spread, Stepper, interleave, ratio, seconds_of, spread
from jdarts.config import Experiment
from jdarts.data import SearchData
from jdarts.devices import memory
from jdarts.errors import UserError
from jdarts.search.estimate import check_memory, memory_need
from jdarts.search.search import make_search
from jdarts.spaces.space import Space

APART = "apart"


@dataclass(frozen=True)
class SeedsCost:
    """Cost of N searches in one program, or of one separate search, as `jdarts search` runs it.

    Attributes:
      searches: number of searches in the program, N.
      trace_seconds, compile_seconds, first_seconds: of the program, for all N searches together.
      seconds: a step of all N searches.
      gain: N steps of a separate search over one step of this program, from the ratios within each round.
      images: training images in a step of all N.
      temporary_bytes: most bytes that XLA allocates beyond states and data.
      state_bytes: the states of all N.
    """

    searches: int
    trace_seconds: float
    compile_seconds: float
    first_seconds: float
    seconds: Spread
    gain: Spread
    images: int
    temporary_bytes: int
    state_bytes: int

    @property
    def images_per_second(self) -> float:
        """Training images per second, of all searches together, at the median."""
        return self.images / self.seconds.median


def parse_counts(text: str) -> list[int]:
    """The numbers of `--seeds 1,4,8`; `UserError` for anything else."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items or not all(item.isdecimal() and int(item) for item in items):
        raise UserError(f"--seeds is {text!r}; list the numbers of searches to measure, e.g. 1,4,8")
    return sorted({int(item) for item in items})


def measure_seeds(
    config: Experiment, space: Space, data: SearchData, counts: Sequence[int], *, rounds: int, say: Say
) -> dict[str, SeedsCost]:
    """Time a step of a separate search ("apart") and of several searches in one program, for each number in `counts`.

    The programs run in turn on one device. Seeds count from `config.seed`, as in a search with --seeds.

    The program is vmapped over the searches, as on accelerators and with `--devices.members vmap`. On a CPU, a search
    with several seeds by default runs them in turn through one compiled step: as fast as the row "apart", and compiled
    once.
    """
    search = make_search(config, space, data)
    programs, runs, facts = {}, {}, {}
    for name, count in {APART: 1, **{str(n): n for n in counts}}.items():
        apart = name == APART
        say("compiling one separate search …" if apart else f"compiling {count} in one program …")
        keys = jax.vmap(jax.random.key)(config.seed + jnp.arange(count))
        state = jax.jit(search.init)(keys[0]) if apart else jax.jit(jax.vmap(search.init))(keys)
        built = make_search(config, space, data)  # rebuilt, so that programs share no trace
        step = built.step if apart else jax.vmap(built.step, in_axes=(0, None))
        compile = staging.compile if apart else staging.compile_vmapped
        programs[name] = program = compile(step, state, search.arrays, donate_argnums=(0,))
        say(f"  traced in {program.trace_seconds:.1f} s, compiled in {program.compile_seconds:.1f} s")
        check_memory(memory_need(program, state, search.arrays), memory.available(), config)
        size = memory.tree_bytes(state)
        runs[name] = Stepper(program, state, search.arrays)
        facts[name] = count, seconds_of(runs[name]), size
    seconds = interleave(runs, rounds, on_round=lambda done: say(f"round {done} of {rounds}"))
    return {
        name: SeedsCost(
            searches=count,
            trace_seconds=programs[name].trace_seconds,
            compile_seconds=programs[name].compile_seconds,
            first_seconds=first,
            seconds=spread(seconds[name]),
            gain=ratio([count * apart for apart in seconds[APART]], seconds[name]),
            images=count * config.search.batch_size,
            temporary_bytes=int(programs[name].peak_bytes),
            state_bytes=size,
        )
        for name, (count, first, size) in facts.items()
    }
