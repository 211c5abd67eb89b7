"""Time the exact alpha-Hessian of a supernet: `python -m jdarts.analysis.hessian_timing --batch-size 64 --chunk 4`.

Synthetic images: time and memory do not depend on them. With `--chunks K` only K chunks are computed and the
time of the whole matrix is extrapolated.
"""

import argparse
import resource
import sys
import time

import jax
import jax.numpy as jnp

from jdarts import memory, spaces
from jdarts.analysis.alpha_hessian import _directions, _staged
from jdarts.analysis.directions import flatten
from jdarts.analysis.live import LiveSearch
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.search.step import make_search


def main() -> None:
    """Prints the seconds to compile, of a chunk and of the whole matrix, and the peak of memory (the device's own)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="darts_cnn")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--cells", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--chunk", type=int, default=4, help="directions at once")
    parser.add_argument("--chunks", type=int, default=0, help="chunks to compute; 0: all")
    options = parser.parse_args()

    config = Experiment(
        data=DataConfig(source=f"synthetic:{options.image}x{options.image}x3:10:{4 * options.batch_size}"),
        space=SpaceConfig(name=options.space, channels=options.channels, cells=options.cells),
        search=SearchConfig(batch_size=options.batch_size),
    )
    space, data = spaces.get(config.space.name), load(config.data).for_search(config.data)
    search = make_search(config, space, data)
    live = LiveSearch(config, space, data, search, jax.jit(search.init)(jax.random.key(0)))
    w, alphas, batch = live.w, live.alphas, live.batches(1)[0]

    n = flatten(alphas)[0].size
    total = -(-n // options.chunk)
    count = min(options.chunks or total, total)
    directions = _directions(n, options.chunk, jnp.float32)[:count]
    program = _staged(live.loss(train=True))
    seconds = []
    for part in (directions[:1], directions):  # the time of one chunk, with the linearisation, and of all of them
        began = time.monotonic()
        jax.block_until_ready(program(w, alphas, batch, part))
        print(f"compile and run {len(part)} chunks of {options.chunk}: {time.monotonic() - began:.1f} s", flush=True)
        began = time.monotonic()
        jax.block_until_ready(program(w, alphas, batch, part))
        seconds.append(time.monotonic() - began)
    chunk = max(seconds[1] - seconds[0], 0.0) / max(count - 1, 1)
    scale = 1024 if sys.platform == "darwin" else 1
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / scale
    peak = (memory.device_peak() or host) / 2**30
    whole = seconds[0] + chunk * (total - 1)
    print(f"chunk: {chunk:.2f} s; {n} × {n} Hessian of a batch: {whole:.1f} s; peak {peak:.2f} GiB")


if __name__ == "__main__":
    main()
