"""Hyper-parameters as arguments of a compiled step."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jdarts.config import Experiment
from jdarts.config.swept import value_of


def as_arguments(config: Experiment, names: Sequence[str]) -> dict[str, jax.Array]:
    """The values of the fields with these dotted names, as scalars in the default type of floating-point numbers."""
    return {name: jnp.asarray(value_of(config, name), jnp.result_type(float)) for name in names}
