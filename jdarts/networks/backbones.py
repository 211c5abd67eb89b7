"""Derived networks without their classifier, as the backbones of networks that label pixels or find objects.

A backbone maps images to features of several strides: the last features in front of every layer or cell of stride 2,
and those of the last one. Its parameters have the names of the classifying network, so that a trained network can be
the start of it (`jdarts.train.transfer`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jdarts.errors import UserError
from jdarts.networks.of_genotype import TrainedOnImages, derived_network


def backbone_network(genotype: TrainedOnImages, sizes: Mapping[str, Any]) -> Any:
    """A Flax module `(images, train, drop_path) -> (features, None)`.

    `features` is a list of `[N, H/stride, W/stride, ·]` of falling resolution. Networks of DARTS cells have the strides
    1, 2, 4 with the stem for CIFAR and 8, 16, 32 with that for ImageNet; mobile networks usually 2, 4, 8, 16, 32.

    Args:
      genotype: of DARTS cells, or a mobile network.
      sizes: the keyword arguments of `derived_network` but the classes.

    Raises `UserError` for other networks.
    """
    network = derived_network(genotype, classes=1, **sizes)
    if "pyramid" not in {field.name for field in dataclasses.fields(network)}:
        raise UserError(
            "only networks of DARTS cells and mobile networks have features of several resolutions, and this is a "
            f"{type(network).__name__}; give another genotype"
        )
    return network.clone(pyramid=True)


def feature_shapes(backbone: Any, image_shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Height, width and channels of every feature of a backbone; nothing is computed."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.result_type(float))
    keys = {name: jax.random.key(0) for name in ("params", "noise", "drop_path")}
    (features, _), _ = jax.eval_shape(lambda images: backbone.init_with_output(keys, images, False), images)
    return [tuple(feature.shape[1:]) for feature in features]
