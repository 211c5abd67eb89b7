"""jdarts: differentiable neural architecture search in JAX.

Import names from here. Each is loaded when it is first used, so that `import jdarts` itself is instant and touches no
device.

Configure an experiment
    Experiment       one experiment: data, space, search, retraining, devices
    DataConfig       which images, how they are split and augmented
    SpaceConfig      the search space and the size of its supernet
    SearchConfig     the method, its optimisers and its length; the defaults are those of DARTS
    SGDConfig        the optimiser of weights: learning rate, momentum, weight decay, clipping
    AdamConfig       the optimiser of the alphas
    TrainConfig      how a derived network is trained from scratch
    LanguageSearchConfig   sizes and dropout of a search on text
    LanguageTrainConfig    how the language model of a recurrent cell is trained from scratch
    load_config      read an Experiment from a file, with command-line overrides
    load_data        read the images that a DataConfig names
    load_text        read the text that a DataConfig names

Search and retrain
    make_search      the pure functions of one search: init, draw, step, loss
    run_search       carry a SearchRun out: epochs, checkpoints, stop rule, genotype
    SearchRun        a whole search that is asked for: settings, space, data, run folder, method
    RunFolder        the folder of a run: records, checkpoints, results
    run_experiment   search, retrain the found cell and random cells, test each once
    cached_searches  run the searches of some seeds once; later calls read them from their run folder
    load             the trained network of a run folder, which classifies images
    run_training     train the network of one genotype from scratch and test it once
    run_language_training  the same for the language model of a recurrent cell

Architectures
    Genotype         a discrete architecture
    parse            read a genotype from text: four notations, or a published name

Modules
    analysis         Hessians, landscapes, correlations and collapse indicators of a search
    data             sources of images and text, splits, batches and on-device augmentation
    estimation       scores of architectures: benchmark tables, objectives, Pareto fronts
    genotypes        genotypes, their notations and the published ones
    hypergrad        hypergradients of any two losses: exact, first order, implicit
    latency          latencies of blocks and networks, measured or read from a table
    methods          search methods, their options, and composing or registering them
    relaxation       softmax, sigmoid, Gumbel and Dirichlet: alphas to op weights
    schedules        values that move with the epoch, such as the weight of an auxiliary skip
    spaces           search spaces, and defining one
    strategies       random search, evolution and controllers in any space, as samplers of Optuna
    train            the training step of derived networks

A search by hand, on 64 images of handwritten digits:

    import jax
    from jdarts import DataConfig, Experiment, SearchConfig, SpaceConfig, load_data, make_search, spaces

    config = Experiment(
        data=DataConfig(source="digits", limit=64),
        space=SpaceConfig(name="nasbench201", channels=4, cells=1),
        search=SearchConfig(method="darts_minus", epochs=2, batch_size=16),
    )
    space = spaces.get(config.space.name)
    search = make_search(config, space, load_data(config.data).for_search(config.data))
    state, step = search.init(jax.random.key(0)), jax.jit(search.step)
    for _ in range(config.search.epochs * search.steps_per_epoch):
        state, metrics = step(state, search.arrays)
    print(float(metrics["val_loss"]), search.method.genotype(space, state.alphas).to_text())

A search of recurrent cells (the spaces of spaces.LANGUAGE), on a text of your own:

    import tempfile
    from dataclasses import replace
    from pathlib import Path

    import jax
    from jdarts import DataConfig, Experiment, LanguageSearchConfig, SearchConfig, SGDConfig
    from jdarts import load_text, make_search, spaces

    folder = Path(tempfile.mkdtemp())
    for part in ("train", "valid", "test"):
        (folder / f"{part}.txt").write_text("the cat sat on the mat\\nthe mat lay on the floor\\n" * 8)
    config = Experiment(
        data=DataConfig(source="text", path=str(folder)),
        search=SearchConfig(
            method="gdas", epochs=1, batch_size=4, weight_optimizer=SGDConfig(learning_rate=1.0, momentum=0.0)
        ),
        language_search=LanguageSearchConfig(units=8, bptt=5),
    )
    space = replace(spaces.LANGUAGE["darts_rnn"], name="two_nodes", nodes=2)  # of 8
    search = make_search(config, space, load_text(config.data))
    state, step = search.init(jax.random.key(0)), jax.jit(search.step)
    for _ in range(search.steps_per_epoch):
        state, metrics = step(state, search.arrays)
    print(float(metrics["val_loss"]), search.method.genotype(space, state.alphas).to_text())

An exact hypergradient of your own losses, here that of the strength of an L2 penalty through one step of SGD:

    import jax.numpy as jnp
    import optax
    from jdarts import hypergrad

    def val_loss(w, alpha, batch):
        inputs, targets = batch
        return jnp.mean((inputs @ w - targets) ** 2), None

    def train_loss(w, alpha, batch):
        return val_loss(w, alpha, batch)[0] + jnp.exp(alpha) * jnp.sum(w**2), None

    w, alpha, optimizer = jnp.array([1.0, 2.0]), jnp.array(-2.0), optax.sgd(0.1, momentum=0.9)
    train, val = (jnp.eye(2), jnp.array([2.0, 0.0])), (jnp.ones((1, 2)), jnp.array([1.0]))
    estimator = hypergrad.unrolled(train_loss, val_loss, optimizer)
    gradient, aux = estimator(w, alpha, optimizer.init(w), train, val)  # dL_val(w'(alpha))/dalpha
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jdarts import analysis as analysis
    from jdarts import data as data
    from jdarts import estimation as estimation
    from jdarts import genotypes as genotypes
    from jdarts import hypergrad as hypergrad
    from jdarts import latency as latency
    from jdarts import methods as methods
    from jdarts import relaxation as relaxation
    from jdarts import schedules as schedules
    from jdarts import spaces as spaces
    from jdarts import strategies as strategies
    from jdarts import train as train
    from jdarts.config import AdamConfig as AdamConfig
    from jdarts.config import DataConfig as DataConfig
    from jdarts.config import Experiment as Experiment
    from jdarts.config import LanguageSearchConfig as LanguageSearchConfig
    from jdarts.config import LanguageTrainConfig as LanguageTrainConfig
    from jdarts.config import SearchConfig as SearchConfig
    from jdarts.config import SGDConfig as SGDConfig
    from jdarts.config import SpaceConfig as SpaceConfig
    from jdarts.config import TrainConfig as TrainConfig
    from jdarts.config.files import load_config as load_config
    from jdarts.data.text import load_text as load_text
    from jdarts.genotypes import Genotype as Genotype
    from jdarts.genotypes import parse as parse
    from jdarts.pipeline import run_experiment as run_experiment
    from jdarts.pipeline.cached import cached_searches as cached_searches
    from jdarts.runs.folder import RunFolder as RunFolder
    from jdarts.search import SearchRun as SearchRun
    from jdarts.search import make_search as make_search
    from jdarts.search import run_search as run_search
    from jdarts.train import run_training as run_training
    from jdarts.train.language import run_language_training as run_language_training
    from jdarts.train.trained import load as load

    load_data = data.load

__version__ = "0.1.0"

_MODULES = (
    "analysis",
    "data",
    "estimation",
    "genotypes",
    "hypergrad",
    "latency",
    "methods",
    "relaxation",
    "schedules",
    "spaces",
    "strategies",
    "train",
)
_MEMBERS = {
    "AdamConfig": "config",
    "DataConfig": "config",
    "Experiment": "config",
    "Genotype": "genotypes",
    "LanguageSearchConfig": "config",
    "LanguageTrainConfig": "config",
    "RunFolder": "runs.folder",
    "SGDConfig": "config",
    "SearchConfig": "config",
    "SearchRun": "search",
    "SpaceConfig": "config",
    "TrainConfig": "config",
    "cached_searches": "pipeline.cached",
    "load": "train.trained",
    "load_config": "config.files",
    "load_data": "data:load",
    "load_text": "data.text",
    "make_search": "search",
    "parse": "genotypes",
    "run_experiment": "pipeline",
    "run_language_training": "train.language",
    "run_search": "search",
    "run_training": "train",
}
"""The module that holds a name, and the name that it has there if it is another."""


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used."""
    if name in _MODULES:
        return importlib.import_module(f"jdarts.{name}")
    if name not in _MEMBERS:
        raise AttributeError(f"module 'jdarts' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    module, _, inner = _MEMBERS[name].partition(":")
    value = getattr(importlib.import_module(f"jdarts.{module}"), inner or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted({*(name for name in globals() if name.startswith("__")), *_MODULES, *_MEMBERS})
