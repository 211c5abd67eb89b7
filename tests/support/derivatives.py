"""Values and derivatives of a function, to compare two forms of it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def derivatives(function: Callable, *args, third: bool = False, mapped: bool = False) -> dict[str, Any]:
    """The value, and derivatives of a scalar made from it in every order and mode, along fixed directions, by name.

    `args` are pytrees of arrays, float64. `third` adds third derivatives, `mapped` those under `jax.vmap`.
    """
    leaves, structure = jax.tree.flatten(args)
    directions = tuple(draw(*leaf.shape, seed=20 + i) for i, leaf in enumerate(leaves))
    every = tuple(range(len(leaves)))

    def value(*leaves):
        return function(*jax.tree.unflatten(structure, leaves))

    def scalar(*leaves):
        outputs = jax.tree.leaves(value(*leaves))
        waves = (jnp.sin((i + 1.3) * y) * jnp.cos(jnp.arange(y.size).reshape(y.shape)) for i, y in enumerate(outputs))
        return sum(jnp.sum(wave) for wave in waves)

    gradient = jax.grad(scalar, every)

    def along(*leaves):
        return jax.jvp(scalar, leaves, directions)[1]

    def gradient_along(*leaves):
        return sum(jnp.vdot(g, t) for g, t in zip(gradient(*leaves), directions, strict=True))

    def product(*leaves):
        return jax.jvp(gradient, leaves, directions)[1]

    def everything(*leaves):
        found = {
            "value": value(*leaves),
            "gradient": gradient(*leaves),
            "forward": jax.jvp(value, leaves, directions)[1],
            "forward over reverse": product(*leaves),
            "reverse over forward": jax.grad(along, every)(*leaves),
            "reverse over reverse": jax.grad(gradient_along, every)(*leaves),
        }
        if third:
            found["third"] = jax.jvp(product, leaves, directions)[1]
            found["third, reverse"] = jax.grad(lambda *leaves: sum(map(jnp.sum, product(*leaves))), every)(*leaves)
        if mapped:
            twice = [jnp.stack([leaf, 1.1 * leaf]) for leaf in leaves]
            found["mapped gradient"] = jax.vmap(gradient)(*twice)
            found["mapped product"] = jax.vmap(product)(*twice)
            found["gradient of mapped"] = jax.grad(lambda *leaves: jnp.sum(jax.vmap(scalar)(*leaves)), every)(*twice)
        return found

    return jax.jit(everything)(*leaves)


def same(found: Any, expected: Any) -> None:
    """Assert that two trees of float64 hold the same numbers."""
    pairs = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    for (path, a), b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11, err_msg=jax.tree_util.keystr(path))


def with_known(function: Callable, weights, images, known: str) -> tuple[Callable, tuple]:
    """`function(weights, three images)` of arguments not `known` ("weights", "images", "some images"), and these."""
    if known == "weights":
        return lambda images: function(weights, images), (images,)
    if known == "images":
        return lambda weights: function(weights, images), (weights,)
    return lambda weights, image: function(weights, [images[0], image, images[2]]), (weights, images[1])


def of_two_seeds(weights, images, mapped) -> tuple[Any, list[Any]]:
    """Weights and images along the axes `mapped`, None for those that both seeds share."""
    return (
        weights if mapped[0] is None else jnp.stack([weights, -weights]),
        images if mapped[1] is None else [jnp.stack([x, 2 * x], mapped[1]) for x in images],
    )
