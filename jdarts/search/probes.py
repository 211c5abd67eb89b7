"""Measurements at the end of an epoch that stop rules ask for."""

from collections.abc import Callable

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from jdarts.search.search import Search
from jdarts.search.state import SearchState
from jdarts.search.task import Arrays


def alpha_spectrum(search: Search, *, shift: float = 0.0) -> Callable[[SearchState, Arrays], np.ndarray]:
    """`(state, arrays) -> [n]`: the eigenvalues of `∂²L/∂α² + shift · I`, largest last (RobustDARTS, Zela et al. 2020).

    L is the loss of the alpha step at the present weights, on the batch of the last alpha step, with batch norms in
    training mode; α are all alphas together. The published numbers use `shift` = the alphas' weight decay. The dense
    matrix is computed by one Hessian-vector product per alpha; it is symmetric up to rounding.
    """

    def hessian(state, arrays):
        _, batch = search.draw(state.replace(step=state.step - 1), arrays)
        flat, unflatten = jax.flatten_util.ravel_pytree(state.alphas)
        gradient = jax.grad(lambda a: search.loss(state.weights, unflatten(a), batch)[0])
        return jax.lax.map(lambda direction: jax.jvp(gradient, (flat,), (direction,))[1], jnp.eye(flat.size))

    compiled = jax.jit(hessian)

    def measure(state: SearchState, arrays: Arrays) -> np.ndarray:
        matrix = np.asarray(compiled(state, arrays), np.float64)
        return np.linalg.eigvalsh((matrix + matrix.T) / 2) + shift

    return measure
