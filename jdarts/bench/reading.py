"""The speed at which this host reads and decodes streamed images, and the time that a search step waits for them."""

from dataclasses import dataclass

import jax

from jdarts.bench.steps import Say
from jdarts.bench.timing import Spread, seconds_of, spread
from jdarts.config import DevicesConfig, Experiment
from jdarts.data.streaming import StreamedData, decode_rate
from jdarts.devices.placement import compile_step, place
from jdarts.search.search import make_search
from jdarts.search.streams import streamed_batches, streams_of
from jdarts.spaces.space import Space

_READ_AHEAD = 3  # batches that may have been read while compiling


@dataclass(frozen=True)
class ReadingCost:
    """Cost of reading, compared with the step that it feeds.

    Attributes:
      threads: threads that read and decode, per split.
      decode_rate: images per second that this process reads, decodes and crops, over the rounds, with nothing else
        running.
      images: number that a search step needs, of both splits together.
      step_seconds: a step on images that are already loaded; None if it was not measured.
      fed_seconds: a step whose batches are read during the previous step, over all rounds; None if not measured.
    """

    threads: int
    decode_rate: Spread
    images: int
    step_seconds: Spread | None
    fed_seconds: float | None

    @property
    def reading_seconds(self) -> float:
        """Seconds of reading for the images of one step, at the median rate."""
        return self.images / self.decode_rate.median

    @property
    def share_of_step(self) -> float | None:
        """Reading time divided by computing time; above 1 the device must wait for images."""
        return None if self.step_seconds is None else self.reading_seconds / self.step_seconds.median

    @property
    def waiting_share(self) -> float | None:
        """The measured share of a search's steps in which nothing was computed."""
        if self.step_seconds is None or self.fed_seconds is None:
            return None
        return max(0.0, 1 - self.step_seconds.median / self.fed_seconds)


def measure_reading(
    config: Experiment, space: Space, data: StreamedData, *, step: bool, rounds: int, images: int, say: Say
) -> ReadingCost:
    """Time the input of a search in this process, and with `step` also the search step on one device.

    Args:
      rounds: number of measurements of the rate, each over `images` images, and number of timed steps.
    """
    settings = config.search
    search = make_search(config, space, data)
    streams = streams_of(config, data, search.method)
    say("reading and decoding …")
    rates = [decode_rate(streams["train"], images=images) for _ in range(rounds)]
    wanted = 2 * settings.batch_size
    if not step:
        return ReadingCost(config.data.read_threads, spread(rates), wanted, None, None)

    placement = place(
        DevicesConfig(backend="jit", data=1), batch_size=settings.batch_size, microbatches=settings.microbatches
    )

    say("compiling the search step …")
    batches = streamed_batches(config, data, search.method, placement)(0)
    program = compile_step(lambda state, arrays, values: search.step(state, arrays), placement, streamed=1)
    state, batch = jax.jit(search.init)(jax.random.key(config.seed)), next(batches)

    def run(batch):
        nonlocal state
        state, seen = program(state, batch, {})
        return state, seen

    say(f"  compiled, and took the first step, in {seconds_of(lambda: run(batch)):.1f} s")
    still = [seconds_of(lambda: run(batch)) for _ in range(rounds)]
    say("steps with reading …")
    for _ in range(_READ_AHEAD):
        jax.block_until_ready(run(next(batches)))
    fed = [seconds_of(lambda: run(next(batches))) for _ in range(rounds)]
    return ReadingCost(config.data.read_threads, spread(rates), wanted, spread(still), sum(fed) / rounds)
