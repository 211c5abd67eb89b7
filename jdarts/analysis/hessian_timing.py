"""Timing of the exact alpha-Hessian of a supernet: `python -m jdarts.analysis.hessian_timing --batch-size 16`.

Images are synthetic, since time and memory do not depend on them.
"""

import argparse
import time

import jax

from jdarts import spaces, staging
from jdarts.analysis.alpha_hessian import directions_at_once
from jdarts.analysis.dense_hessian import hessian_of
from jdarts.analysis.live import LiveSearch
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.devices import memory
from jdarts.search.search import make_search


def main() -> None:
    """Print the seconds to compile and to run, the bytes alive at once, and the peak memory of process or device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="darts_cnn")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--chunk", type=int, help="directions at once (default: chosen by the batch)")
    options = parser.parse_args()
    if options.chunk is not None and options.chunk < 1:
        parser.error(f"--chunk is {options.chunk}; push at least 1 direction at a time")

    config = Experiment(
        data=DataConfig(source=f"synthetic:{options.image}x{options.image}x3:10:{4 * options.batch_size}"),
        space=SpaceConfig(name=options.space, channels=options.channels, cells=options.cells),
        search=SearchConfig(batch_size=options.batch_size),
    )
    space, data = spaces.configured(config.space), load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    live = LiveSearch(config, space, data, search, jax.jit(search.init)(jax.random.key(0)))
    loss, args = live.loss(train=True), (live.w, live.alphas, live.batches(1)[0])
    chunk = directions_at_once(args[-1]) if options.chunk is None else options.chunk

    def hessian(w, alphas, batch):
        return hessian_of(loss, w, alphas, batch, chunk)

    program = staging.compile(hessian, *args, shared=True)
    seconds = program.trace_seconds + program.compile_seconds
    alive = memory.format_bytes(program.peak_bytes)
    print(f"compiled in {seconds:.0f} s, {program.programs} programs; {alive} alive at once", flush=True)
    began = time.monotonic()
    _, matrix = jax.block_until_ready(program(*args))
    took = time.monotonic() - began
    peak = memory.format_bytes(memory.device_peak() or memory.process_peak() or 0)
    print(f"{len(matrix)} × {len(matrix)} Hessian of a batch: {took:.1f} s; peak {peak}")


if __name__ == "__main__":
    main()
