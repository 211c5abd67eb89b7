"""Time the exact alpha-Hessian of a supernet: `python -m jdarts.analysis.hessian_timing --batch-size 64 --chunk 4`.

Synthetic images: time and memory do not depend on them. With `--chunks K` only K chunks are computed and the
time of the whole matrix is extrapolated from the median chunk.
"""

import argparse
import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from jdarts import spaces
from jdarts.analysis.alpha_hessian import linearized_gradient
from jdarts.analysis.directions import flatten
from jdarts.analysis.live import LiveSearch, compile_pieces
from jdarts.config import DataConfig, Experiment, SearchConfig, SpaceConfig
from jdarts.data import load
from jdarts.search.step import make_search


def main() -> None:
    """Prints the seconds to compile (with a first call), to linearise, of a chunk, of the matrix, and peak memory."""
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

    start, push = (compile_pieces(f) for f in linearized_gradient(live.loss(train=True)))
    n = flatten(alphas)[0].size
    began = time.monotonic()
    jax.block_until_ready(start(w, alphas, batch))
    print(f"compile the linearisation: {time.monotonic() - began:.1f} s", flush=True)
    began = time.monotonic()
    _, linear = jax.block_until_ready(start(w, alphas, batch))
    linearise = time.monotonic() - began
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(linear)) / 2**30
    print(f"linearise: {linearise:.2f} s; {held:.2f} GiB held", flush=True)
    directions = jnp.zeros((options.chunk, n)).at[jnp.arange(options.chunk), jnp.arange(options.chunk)].set(1)
    began = time.monotonic()
    jax.block_until_ready(push(linear, directions))
    print(f"compile a chunk of {options.chunk}: {time.monotonic() - began:.1f} s", flush=True)
    total = -(-n // options.chunk)
    seconds = []
    for k in range(min(options.chunks or total, total)):
        moved = jnp.roll(directions, k * options.chunk, axis=1)
        began = time.monotonic()
        jax.block_until_ready(push(linear, moved))
        seconds.append(time.monotonic() - began)
    chunk = float(np.median(seconds))
    scale = 1024 if sys.platform == "darwin" else 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20 / scale
    whole = linearise + (sum(seconds) if len(seconds) == total else chunk * total)
    print(
        f"chunk: median {chunk:.2f} s of {len(seconds)}; {n} × {n} Hessian a batch: {whole:.1f} s; peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
