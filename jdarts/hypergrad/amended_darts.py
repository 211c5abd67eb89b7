"""The amended gradient of Amended-DARTS."""

from jdarts.hypergrad.axes import over_axis
from jdarts.hypergrad.checks import check_count, check_number, checked
from jdarts.hypergrad.products import gradients, hessian_product, mixed_product, scale
from jdarts.hypergrad.types import Aux, AxisName, Estimator, Loss


def amended(
    train_loss: Loss,
    val_loss: Loss,
    optimizer=None,
    *,
    coefficient: float = 0.1,
    microbatches: int = 1,
    axis_name: AxisName = None,
) -> Estimator:
    """The amended gradient (Bi et al. 2019): `∂_α L_val − η ∇²_{αw} L_train H v`, all at the current `w`.

    It replaces `H⁻¹` in the implicit gradient by `ηH`. For a positive definite H, any positive multiple of H keeps the
    sign of the correction along every eigenvector, and no system has to be solved. The validation loss is taken at `w`;
    `v` is its weight gradient, H the Hessian of the training loss. Both products are exact; the published form uses two
    finite differences.

    Args:
      coefficient: η, the amending coefficient; 0 is first order.
      microbatches, axis_name: as for `unrolled`.
    """
    del optimizer
    check_number("coefficient", coefficient)
    check_count("microbatches", microbatches, 1)
    train_loss, val_loss = over_axis(train_loss, axis_name), over_axis(val_loss, axis_name)
    val_gradients = gradients(val_loss, microbatches)
    curvature = hessian_product(train_loss, microbatches)

    def along_curvature(w, alphas, batch, v):
        return scale(-coefficient, curvature(w, alphas, batch, v))

    product = mixed_product(train_loss, microbatches)

    def estimator(w, alphas, opt_state, train_batch, val_batch):
        del opt_state
        (value, aux), (v, d) = val_gradients(w, alphas, val_batch)
        grads = product(w, alphas, train_batch, along_curvature(w, alphas, train_batch, v), d)
        return grads, Aux(value, aux)

    return checked(estimator, train_loss=train_loss, val_loss=val_loss, microbatches=microbatches, axis_name=axis_name)
