"""`import jdarts`: lazy, complete, and its docstring's programs run."""

import inspect
import pydoc
import re
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jdarts
from jdarts.genotypes import Genotype, RecurrentGenotype

DOC = inspect.getdoc(jdarts) or ""
PUBLIC = {name for name in dir(jdarts) if not name.startswith("_")}
PROGRAMS = [textwrap.dedent(block) for block in re.findall(r"^    import .*\n(?:(?:    .*)?\n?)*", DOC, re.MULTILINE)]


def run(program: str) -> dict:
    names: dict = {}
    exec(compile(program, "<docstring of jdarts>", "exec"), names)
    return names


def test_the_import_loads_nothing_slow():
    watched = ("jax", "jaxlib", "numpy", "flax", "optax", "matplotlib", "tyro", "rich", "orbax", "grain")
    code = (
        "import sys, jdarts; dir(jdarts); hasattr(jdarts, 'nothing'); "
        f"print(*({{m.partition('.')[0] for m in sys.modules}} & set({watched!r})), "
        "*(m for m in sys.modules if m.startswith('jdarts.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []


def test_the_configuration_needs_no_jax():
    code = "import sys; from jdarts import Experiment, load_config; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


def test_help_has_one_line_for_each_name():
    listed = re.findall(r"^    (\w+) {2,}\S.*$", DOC, re.MULTILINE)
    assert sorted(listed) == sorted(PUBLIC)
    page = pydoc.plain(pydoc.render_doc(jdarts))
    assert all(len(re.findall(rf"^ +{name} {{2,}}\S", page, re.MULTILINE)) == 1 for name in PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_resolves(name):
    value = getattr(jdarts, name)
    if inspect.ismodule(value):
        assert value.__name__ == f"jdarts.{name}" and value.__doc__
    else:
        assert value.__name__ == ("load" if name == "load_data" else name) and value.__doc__
    assert getattr(jdarts, name) is value


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jdarts' has no attribute 'make_serch'"):
        _ = jdarts.make_serch  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(ImportError, match="cannot import name 'make_serch'"):
        exec("from jdarts import make_serch")


def test_type_checkers_see_the_same_names():
    source = inspect.getsource(jdarts)
    block = source.partition("if TYPE_CHECKING:\n")[2].partition("\n__version__")[0]
    seen = re.findall(r" as (\w+)$|^    (\w+) = ", block, re.MULTILINE)
    assert sorted(a or b for a, b in seen) == sorted(PUBLIC)


def test_the_program_that_searches():
    names = run(PROGRAMS[0])
    assert int(names["state"].step) == 2 * names["search"].steps_per_epoch == 4
    genotype = names["search"].method.genotype(names["space"], names["state"].alphas)
    assert isinstance(genotype, Genotype) and np.isfinite(float(names["metrics"]["val_loss"]))


def test_the_program_that_searches_text():
    names = run(PROGRAMS[1])
    assert int(names["state"].step) == names["search"].steps_per_epoch > 1
    genotype = names["search"].method.genotype(names["space"], names["state"].alphas)
    assert isinstance(genotype, RecurrentGenotype) and np.isfinite(float(names["metrics"]["val_loss"]))


def test_the_program_with_an_exact_hypergradient():
    """The reference: reverse-mode differentiation through the optimiser's step."""
    names = run(PROGRAMS[2])
    w, optimizer, state = names["w"], names["optimizer"], names["optimizer"].init(names["w"])

    def after_step(alpha):
        grads = jax.grad(lambda w: names["train_loss"](w, alpha, names["train"])[0])(w)
        updates, _ = optimizer.update(grads, state, w)
        return names["val_loss"](optax.apply_updates(w, updates), alpha, names["val"])[0]

    expected = jax.grad(after_step)(names["alpha"])
    assert jnp.abs(expected) > 1e-3
    np.testing.assert_allclose(names["gradient"], expected, rtol=1e-5)
    assert len(PROGRAMS) == 3


MODULES = sorted(name for name in PUBLIC if inspect.ismodule(getattr(jdarts, name)))


@pytest.mark.parametrize("name", MODULES)
def test_the_help_of_a_module_is_complete(name):
    """The docstring has more than a line, and every name that is exported, or shown as code, exists."""
    module = getattr(jdarts, name)
    doc = inspect.getdoc(module) or ""
    assert len(doc.splitlines()) > 2
    exported = getattr(module, "__all__", ())
    for each in exported:
        value = getattr(module, each)
        assert not (inspect.isfunction(value) or inspect.isclass(value)) or inspect.getdoc(value), each
    for dotted in re.findall(r"`(jdarts(?:\.\w+)+)`", doc):
        assert pydoc.locate(dotted) is not None, dotted
    page = pydoc.plain(pydoc.render_doc(module))
    assert all(re.search(rf"\b{each}\b", page) for each in exported)


def test_the_help_of_the_spaces_names_every_space():
    kinds = (jdarts.spaces.names(), jdarts.spaces.LANGUAGE, jdarts.spaces.DECISIONS_ONLY)
    assert sorted(jdarts.spaces.DESCRIPTIONS) == sorted(
        {name for kind in kinds for name in kind} & set(jdarts.spaces.DESCRIPTIONS)
    )
    for name in jdarts.spaces.DESCRIPTIONS:
        assert jdarts.spaces.get_decisions(name).name == name
