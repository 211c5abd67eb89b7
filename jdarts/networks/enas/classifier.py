"""The classifier of ENAS networks."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jdarts.ops.initializers import uniform_fan_out


class LinearClassifier(nn.Module):
    """Global average pooling and a linear layer without bias: `[N, H, W, C]` → `[N, classes]`."""

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply to the last output."""
        features = jnp.mean(x, (1, 2))
        return features @ self.param("kernel", uniform_fan_out(self.classes), (features.shape[-1], self.classes))
