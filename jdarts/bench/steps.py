"""The steps of a search, compiled and measured in turn: weight step, first order, second order."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jdarts import staging
from jdarts.bench.timing import Spread, Stepper, seconds_of, spread
from jdarts.config import Experiment
from jdarts.config.swept import unchecked
from jdarts.data import SearchData
from jdarts.data.text import TextData
from jdarts.devices import memory
from jdarts.errors import unknown
from jdarts.hypergrad.microbatch import averaged
from jdarts.methods import configured
from jdarts.search.conventions import hypergradient_of
from jdarts.search.estimate import check_memory, memory_need
from jdarts.search.search import Search, make_search
from jdarts.spaces.space import Space

STEPS = ("weight", "first_order", "second_order")

Say = Callable[[str], None]


@dataclass(frozen=True)
class StepReport:
    """The cost of one kind of step.

    Attributes:
      trace_seconds, compile_seconds: time to trace the step, and to compile the trace to machine code.
      first_seconds: the first call, in which the system also provides the memory.
      seconds: of one step, over the rounds.
      images: training images per step, of text words (a search step also sees as many of the validation split).
      argument_bytes: state and data set.
      temporary_bytes: most bytes that XLA's programs allocate beyond their arguments (temporary arrays and results).
      resident_bytes: largest growth of this process during one step (Linux hosts), otherwise None.
      device_peak_bytes: most bytes ever in use on the accelerator, otherwise None.
      flops, bytes_accessed: XLA's own count for one step. Bytes are those that its fused kernels read and write. None
        for text: XLA counts the body of a loop over time once.
      unit: "images" or "words".
    """

    trace_seconds: float
    compile_seconds: float
    first_seconds: float
    seconds: Spread
    images: int
    argument_bytes: int
    temporary_bytes: int
    resident_bytes: int | None
    device_peak_bytes: int | None
    flops: float | None
    bytes_accessed: float | None
    unit: str = "images"

    @property
    def images_per_second(self) -> float:
        """Training images (of text words) per second, at the median."""
        return self.images / self.seconds.median

    @property
    def flops_per_second(self) -> float | None:
        """Achieved arithmetic, at the median."""
        return None if self.flops is None else self.flops / self.seconds.median

    @property
    def bytes_per_second(self) -> float | None:
        """Achieved traffic, at the median."""
        return None if self.bytes_accessed is None else self.bytes_accessed / self.seconds.median


@dataclass
class CompiledStep:
    """A step ready to be repeated, and the values known before the repetitions."""

    search: Search
    program: Any
    stepper: Stepper
    first_seconds: float
    resident_bytes: int | None
    device_peak_bytes: int | None
    argument_bytes: int
    images: int

    def report(self, seconds: list[float]) -> StepReport:
        """The report, given the seconds of all rounds."""
        text = isinstance(self.search.data, TextData)
        return StepReport(
            trace_seconds=self.program.trace_seconds,
            compile_seconds=self.program.compile_seconds,
            first_seconds=self.first_seconds,
            seconds=spread(seconds),
            images=self.images,
            argument_bytes=self.argument_bytes,
            temporary_bytes=int(self.program.peak_bytes),
            resident_bytes=self.resident_bytes,
            device_peak_bytes=self.device_peak_bytes,
            flops=None if text else float(self.program.flops),
            bytes_accessed=None if text else float(self.program.bytes_accessed),
            unit="words" if text else "images",
        )


def step_names(config: Experiment) -> dict[str, str]:
    """The kinds of step of a configuration, each with its description.

    Those of `STEPS`, and `configured` if the configuration's own hypergradient is not among them.
    """
    names = {
        "weight": "weight step",
        "first_order": "first-order search step",
        "second_order": "second-order search step",
    }
    settings, what = config.search, hypergradient_of(config.search, configured(config.search))
    if what not in ("first_order", "unrolled") or settings.unroll_steps > 1:
        if settings.unroll_steps > 1:
            what = f"{what}, {settings.unroll_steps} steps"
        elif what in ("neumann", "conjugate_gradient"):
            what = f"{what} {settings.hypergradient_terms}"
        names["configured"] = f"search step, {what}"
    return names


def configured_name(config: Experiment) -> str:
    """The entry of `step_names` for the step of a search with this configuration."""
    if "configured" in step_names(config):
        return "configured"
    return (
        "first_order" if hypergradient_of(config.search, configured(config.search)) == "first_order" else "second_order"
    )


def choose(names: dict[str, str], only: Iterable[str] | None) -> dict[str, str]:
    """The entries of `names` listed in `only`, or all of them; `UserError` for an unknown one."""
    if only is None:
        return names
    wanted = list(dict.fromkeys(only))
    for name in wanted:
        if name not in names:
            raise unknown("measurement", name, names)
    return {name: names[name] for name in names if name in wanted}


def compile_steps(
    config: Experiment, space: Space, data: SearchData | TextData, names: Iterable[str], say: Say
) -> dict[str, CompiledStep]:
    """Compile each step and run it once; record the cost of both.

    Every kind is built separately. Kinds therefore share no trace or program, and each has its own compile time.
    """
    compiled = {}
    for name in names:
        say(f"compiling {step_names(config)[name]} …")
        search, step = build_step(config, space, data, name)
        state = jax.jit(search.init)(jax.random.key(config.seed))
        calls = config.search.epochs * search.steps_per_epoch
        program = staging.compile(step, state, search.arrays, donate_argnums=(0,), calls=calls)
        say(f"  traced in {program.trace_seconds:.1f} s, compiled in {program.compile_seconds:.1f} s")
        check_memory(memory_need(program, state, search.arrays), memory.available(), config)
        stepper = Stepper(program, state, search.arrays)
        first, resident, peak = first_call(stepper)
        compiled[name] = CompiledStep(
            search=search,
            program=program,
            stepper=stepper,
            first_seconds=first,
            resident_bytes=resident,
            device_peak_bytes=peak,
            argument_bytes=memory.tree_bytes((state, search.arrays)),
            images=config.search.batch_size * (config.language_search.bptt if isinstance(data, TextData) else 1),
        )
    return compiled


def first_call(run: Callable[[], Any]) -> tuple[float, int | None, int | None]:
    """Seconds of the first call of `run`, largest growth of this process, peak memory of the accelerator."""
    seconds, growth = memory.host_growth(lambda: seconds_of(run))
    return seconds, growth, memory.device_peak()


def build_step(config: Experiment, space: Space, data: SearchData | TextData, name: str) -> tuple[Search, Callable]:
    """The functions of the search, and its step of that kind: `(state, arrays) -> (state, metrics)`."""
    settings = config.search
    if name != "configured":
        hypergradient = "unrolled" if name == "second_order" else "first_order"
        settings = unchecked(settings, hypergradient=hypergradient, unroll_steps=1)
    search = make_search(dataclasses.replace(config, search=settings), space, data)
    return search, weight_step(config, search) if name == "weight" else search.step


def weight_step(config: Experiment, search: Search) -> Callable:
    """A plain training step on the training batches of the search; it leaves out only the alphas."""
    settings, task = config.search, search.task
    optimizer = task.weight_optimizer(settings.weight_optimizer, settings.epochs, search.steps_per_epoch)
    gradient = averaged(jax.value_and_grad(search.loss, has_aux=True), settings.microbatches)

    def step(state: Any, arrays: Any) -> tuple[Any, dict[str, jax.Array]]:
        batch, _ = search.draw(state, arrays)
        entered: Any = task.enter(state, batch)
        (value, aux), grads = gradient(entered.weights, entered.alphas, batch)
        updates: Any
        updates, opt_state = optimizer.update(grads, entered.weight_opt_state, entered.weights)
        state = entered.replace(
            step=state.step + 1,
            weights=entered.weights + updates,
            batch_stats=aux["batch_stats"],
            weight_opt_state=opt_state,
            carried={**state.carried, "train": aux["carried"]},
        )
        return state, {"train_loss": value, "finite": jnp.isfinite(value)}

    return step
