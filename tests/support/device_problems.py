"""A search small enough to compile in seconds, and ways to run it on emulated devices in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.config import AdamConfig, DataConfig, DevicesConfig, Experiment, SearchConfig, SGDConfig, SpaceConfig
from jdarts.data import load
from jdarts.devices.placement import compile_init, compile_step, place, replicate, split_members
from jdarts.methods import Method
from jdarts.relaxation import softmax
from jdarts.search import make_search
from jdarts.spaces import Space, define_space

WITHOUT_WEIGHTS = ("none", "skip_connect")
ENDS = {(0, 2): WITHOUT_WEIGHTS, (1, 3): WITHOUT_WEIGHTS, (2, 3): ("noise", "skip_connect")}
TINY = define_space(
    "tiny",
    nodes=2,
    normal={(1, 2): ("skip_connect", "dil_conv_3x3"), (0, 3): ("max_pool_3x3", "dil_conv_3x3"), **ENDS},
    reduce={(1, 2): ("max_pool_3x3", "dil_conv_3x3"), (0, 3): ("avg_pool_3x3", "dil_conv_3x3"), **ENDS},
)

CONFIG = Experiment(
    data=DataConfig(source="synthetic:8x8x3:4:96", crop_padding=1, flip=True, search_cutout=2),
    space=SpaceConfig(channels=2, cells=1),
    search=SearchConfig(
        epochs=3,
        batch_size=16,
        weight_optimizer=SGDConfig(learning_rate=0.1, weight_decay=1e-2, gradient_clip=0.5),
        alpha_optimizer=AdamConfig(learning_rate=1e-2, weight_decay=1e-2),
    ),
)


def config_with(**search) -> Experiment:
    return dataclasses.replace(CONFIG, search=dataclasses.replace(CONFIG.search, **search))


def doubled(tree):
    """Floating arrays as float64."""
    return jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def gumbel(alphas, key, clock, space):
    """A random relaxation: softmax of the alphas with Gumbel noise."""
    del clock, space
    keys = jax.random.split(key, len(alphas))
    noisy = {
        name: a + jax.random.gumbel(k, a.shape, a.dtype) for k, (name, a) in zip(keys, alphas.items(), strict=True)
    }
    return softmax(noisy)


METHOD = Method("sampled", "", "", relax=gumbel, edge_values={"drop_path": lambda clock: jnp.float32(0.3)})


def placed(config: Experiment, seeds: tuple[int, ...] = (), **devices):
    """The placement that `devices` (fields of `DevicesConfig`) ask for."""
    settings = config.search
    return place(
        DevicesConfig(**devices),
        batch_size=settings.batch_size,
        microbatches=settings.microbatches,
        members=len(seeds),
    )


def counting_traces(step):
    """`step(state, arrays)` as `compile_step` takes it, and a list that grows whenever it is traced."""
    traces = []

    def counted(state, arrays, values):
        traces.append(values)
        return step(state, arrays)

    return counted, traces


def prepared(config: Experiment, placement, *, space: Space = TINY, method=METHOD, check_types=True):
    """`(search, init, step)` in float64; `step(state)`."""
    data = load(config.data).for_search(config.data)
    search = make_search(config, space, data, method=method, axis_name=placement.axis_name)
    init = compile_init(lambda seed, values: doubled(search.init(jax.random.key(seed))), placement)
    counted, traces = counting_traces(search.step)
    program = compile_step(counted, placement, check_types=check_types)
    arrays = replicate(search.arrays, placement)

    def step(state):
        state = program(state, arrays, {})[0]
        assert len(traces) == 1, "the step was traced, and compiled, again"
        return state

    return search, init, step


def run(config: Experiment, *, steps: int, seeds: tuple[int, ...] = (), **options):
    """The state after `steps` steps; `options` are those of `prepared` and `placed`."""
    built = {name: options.pop(name) for name in ("space", "method", "check_types") if name in options}
    placement = placed(config, seeds, **options)
    _, init, step = prepared(config, placement, **built)
    state = init(split_members(np.array(seeds, np.int32) if seeds else np.int32(0), placement), {})
    for _ in range(steps):
        state = step(state)
    return state


def member(state, index: int):
    """One search out of a stacked state."""
    return jax.tree.map(lambda leaf: leaf[index], state)


def leaves(state) -> dict[str, np.ndarray]:
    """Every floating array of a state by its path."""
    named = jax.tree_util.tree_flatten_with_path(state)[0]
    return {
        jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in named if jnp.issubdtype(leaf.dtype, jnp.floating)
    }


def largest_difference(one, other) -> float:
    """The largest absolute difference between two states."""
    a, b = leaves(one), leaves(other)
    assert a.keys() == b.keys() and a
    return max(float(np.abs(a[name] - b[name]).max()) for name in a)


FIRST_ORDER = config_with(hypergradient="first_order")
