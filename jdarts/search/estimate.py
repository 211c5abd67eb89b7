"""The memory that a search needs and the time of an epoch, reported at the start of the search."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from jdarts.config import Experiment
from jdarts.data.text import is_text
from jdarts.devices.memory import Available, available, does_not_fit, format_bytes, tree_bytes
from jdarts.methods import configured
from jdarts.methods.resources import op_costs
from jdarts.runs.reporter import Reporter
from jdarts.search.conventions import hypergradient_of
from jdarts.spaces.space import Space

_TIGHT = 0.8  # share of the available memory above which the line has a warning
_MARGIN = 0.9  # share of the available memory that the advice plans to use


@dataclass(frozen=True)
class Need:
    """Bytes that a program will allocate, besides arrays that exist already."""

    temporary: int
    arguments: int

    @property
    def total(self) -> int:
        """The sum of both."""
        return self.temporary + self.arguments


def memory_need(program: Any, *arguments: Any) -> Need:
    """Memory that `program(*arguments)` will allocate; it includes arguments given as shapes, but not arrays."""
    missing = [leaf for leaf in jax.tree.leaves(arguments) if not isinstance(leaf, jax.Array)]
    return Need(int(program.peak_bytes), tree_bytes(missing))


def check_weights(config: Experiment, space: Space, side: int, free: Available | None) -> None:
    """Raise `UserError` if the weights of the candidates alone need more memory than is available.

    Nothing is compiled. Three numbers per weight (weight, gradient, momentum) are a lower bound for a step;
    `check_memory` knows the whole need, but only after compilation. `side` is the side of the images in pixels.
    """
    method = configured(config.search)
    if method.driver is not None:  # a driver may use smaller networks, or none
        return
    width = config.space.channels // method.edge.partial_channels
    costs = op_costs(space, "parameters", channels=width, cells=config.space.cells, size=side)
    needed = int(12 * sum(cost.sum() for cost in costs.values()))
    if free is not None and needed > free.bytes:
        raise does_not_fit("the supernet", needed, free, advice(config, free.bytes / needed))


def check_memory(need: Need, free: Available | None, config: Experiment) -> str:
    """One line about the memory, for the user; raises `UserError` with advice if `need` exceeds the available memory.

    If `free` is None (unknown), nothing is refused.
    """
    if free is None:
        return f"memory: the search step needs {format_bytes(need.total)}"
    if need.total > free.bytes:
        raise does_not_fit("the search step", need.total, free, advice(config, free.bytes / need.total))
    tight = " (tight)" if need.total > _TIGHT * free.bytes else ""
    return f"memory: the search step needs {format_bytes(need.total)}; available: {format_bytes(free.bytes)}{tight}"


def advice(config: Experiment, factor: float) -> str:
    """Settings with which the search step needs only the share `factor` (below one) of its memory.

    Nearly all of the memory holds activations. It is proportional to the number of images computed at once.
    """
    settings, text = config.search, is_text(config.data.source)
    fits = int(_MARGIN * factor * (settings.batch_size // settings.microbatches))
    ways = []
    if fits >= 2:
        ways.append(f"search.batch_size {min(fits, settings.batch_size - 1)} instead of {settings.batch_size}")
        parts = [m for m in range(2, settings.batch_size // 2 + 1) if settings.batch_size % m == 0]
        parts = [m for m in parts if m > settings.microbatches and settings.batch_size // m <= fits]
        if parts and not text:
            ways.append(f"search.microbatches {parts[0]}")
    if text:
        ways.append(f"fewer language_search.units than {config.language_search.units}")
        ways.append(f"a shorter window than language_search.bptt {config.language_search.bptt}")
    if config.space.channels > 2 and not text:
        ways.append(f"fewer space.channels than {config.space.channels}")
    if config.space.cells > 1 and not text:
        ways.append(f"fewer space.cells than {config.space.cells}")
    if not settings.remat and not text:
        ways.append("search.remat true")
    if settings.method == "darts" and not text:
        ways.append("search.method pc_darts (partial channels)")
    if hypergradient_of(settings, configured(settings)) not in ("first_order", "single_level"):
        ways.append("search.hypergradient first_order")
    return "try " + ", or ".join(ways) if ways else "use a machine with more memory"


def announce_pace(
    step: Callable[[Any], Any],
    say: Callable[[str], None],
    *,
    steps_per_epoch: int,
    epochs: int,
    timed: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> Callable[[Any], Any]:
    """`step`, which also reports the expected time of an epoch after its first calls.

    The first call is slower than later ones and is not timed. The next `timed` calls are timed until their results are
    ready; their results do not change. Later calls go to `step` directly.
    """
    calls, started = 0, 0.0

    def timed_step(state):
        nonlocal calls, started
        if calls > timed:
            return step(state)
        if calls == 1:
            jax.block_until_ready(state)
            started = clock()
        result = step(state)
        calls += 1
        if calls == timed + 1:
            jax.block_until_ready(result)
            say(pace_line((clock() - started) / timed, steps_per_epoch=steps_per_epoch, epochs=epochs))
        return result

    return timed_step


def pace_line(seconds: float, *, steps_per_epoch: int, epochs: int) -> str:
    """A line with the times of a step, of an epoch and of all epochs, from `seconds` per step."""
    epoch = seconds * steps_per_epoch
    return (
        f"time: {format_seconds(seconds)} per step, about {format_seconds(epoch)} per epoch "
        f"({steps_per_epoch:,} steps), {format_seconds(epoch * epochs)} for {epochs:,} epochs"
    )


def format_seconds(seconds: float) -> str:
    """Seconds as readable text: 1.2 ms, 0.34 s, 12 s, 3 min 20 s, 5 h 10 min."""
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 60:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.3g} days"


def tell_memory(reporter: Reporter, program: Any, arguments: tuple[Any, ...], config: Experiment) -> None:
    """Check the memory for `program(*arguments)` and report it; `UserError` if it does not suffice."""
    reporter.message(check_memory(memory_need(program, *arguments), available(), config))
