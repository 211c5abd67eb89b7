"""Hypergradients of bilevel problems: `dJ/dα` for `J(α) = L_val(w'(α), α)`, where `w'` comes from training with α.

An estimator is built from two losses and the optimiser of the weights. All estimators are called in the same way:

    estimator = unrolled(train_loss, val_loss, optimizer)
    grads, aux = estimator(w, alphas, opt_state, train_batch, val_batch)

A loss is `loss(w, alphas, batch) -> (scalar, aux)`, a mean over its batch. `w`, `alphas` and `batch` are any pytrees;
no network is assumed. Estimators are pure functions: jit, vmap and shard them freely.

**Many devices.** Inside `jax.pmap`, `jax.shard_map` (with or without `check_vma`) or `jax.vmap(axis_name=…)`, name the
axis over which the batches are split, and write the loss as for one device:

    estimator = unrolled(train_loss, val_loss, optimizer, axis_name="data")
    grads, aux = jax.pmap(estimator, axis_name="data", in_axes=(None, None, None, 0, 0))(
        w, alphas, opt_state, train_parts, val_parts)

If the parts have equal size, every replica then returns the gradient that one device would compute on the whole batch.
`w`, `alphas` and `opt_state` are the same on all replicas. Floating-point aux are averaged over the axis; other aux are
those of the replica. A loss that already ends in `jax.lax.pmean` gives the same result. JAX reduces the gradient of
replicated arrays by their types (`check_vma=True`) or not at all, so without `axis_name` an estimator refuses losses
whose derivatives would be a sum over the replicas or the share of one replica. Under `vmap` or `pmap`, a loss without
collectives is a separate problem on each replica.

**Choosing an estimator**

    estimator            validation loss at   what it computes                           passes over a network
    first_order          w                    ∂_α L_val                                  1 gradient
    single_level         - (training at w)    ∂_α L_train, with ∂_w L_train              1 gradient, shared with w
    unrolled             w' (or w_k)          exact, through k optimiser steps           k + 1 gradients, k products
    look_back            w', the next w       exact, through the step really taken       2 gradients, 1 product
    finite_difference    w'                   approximate: unrolled, differenced         2 gradients, 2 by α only
    neumann              w (or w')            implicit, n terms of a series for H⁻¹      1 (2) gradients, n products
    conjugate_gradient   w                    implicit, H⁻¹ by n CG iterations           1 gradient, n + 1 products
    implicit             w                    implicit, H⁻¹ by any solver                1 gradient, its products + 1
    warm_started         w                    implicit, from the last solution           that of implicit, + 1 product
    amortised            w                    implicit, solved over the calls            1 gradient, 1 product
    penalised            y, a second copy     first order, the training loss a penalty   3 gradients
    amended              w                    ηH instead of H⁻¹                          1 gradient, 2 products

**The exact one-step hypergradient.** The optimiser turns a gradient `g` into an update, `w' = w + U(g)`, with `g =
∇_w L_train(w, α)`. Momentum, decay, clipping, Adam's scale and the schedule are all inside `U`. α enters `w'` only
through `g`. By the chain rule

    dJ/dα = ∂_α L_val(w', α) + (∂g/∂α)ᵀ (∂U/∂g)ᵀ v,     v = ∇_{w'} L_val(w', α)
          = d                + ∇²_{αw} L_train(w, α) u,   u = (∂U/∂g)ᵀ v

`u` is one vjp through the optimiser, cheap and exact for any optax chain; for plain SGD it is `−ξ v`. Mixed partial
derivatives commute, so the last product is the directional derivative of the alpha gradient along `u`, computed forward
over reverse:

    ∇²_{αw} L_train(w, α) u = d/ds ∇_α L_train(w + s u, α) at s = 0 = jax.jvp(w ↦ ∇_α L_train(w, α), (w,), (u,))

It needs no step size and less memory than reverse over reverse. DARTS (Liu et al. 2019, eq. 7–8) approximates it by a
finite difference along the same line. Momentum and weight decay move the point w' but add no term of their own.
Clipping adds the Jacobian of `g ↦ g · min(1, c/‖g‖)`, and Adam adds the Jacobian of its division.

**Conditions for exactness.** The value equals that of `jax.grad` through the step, up to rounding, if
* mixed derivatives commute: every `custom_jvp` or `custom_vjp` rule is the true derivative of its function. Other
  rules, such as straight-through estimators, make the reverse products wrong (by 0.3 % for one step and 0.4 % for two
  in a small network whose every tanh had the slope 1). `unrolled(mode=Forward())` does not exchange derivatives; it
  agrees with `jax.grad` through the step if these rules act on the weights;
* the loss is twice differentiable at the point; at a kink (ReLU, max pooling) JAX takes one-sided derivatives;
* the derivative of the optimiser's step is informative. The update of sign optimisers (lion, sign_sgd) is piecewise
  constant in the gradient, so its derivative is 0 and only the direct term d remains. JAX also defines the derivative
  of `sign` at 0 as 0, so an update like sign(g)·√|g| counts as constant at a zero gradient.

A loss with a `custom_vjp` can be used if its rules can be differentiated. Estimators refuse a loss whose second
derivative JAX cannot take, except `first_order`, `single_level` and `finite_difference`, which take only one.

**Zeros.** The derivative of an optimiser can be infinite where its step is finite. Adam, for example, takes the square
root of the second moment, which is zero for a weight whose gradient was always zero. The chain rule is applied with
0 · ∞ = 0 (see `jdarts.hypergrad.singular`): weights without influence contribute exactly zero, and a fresh Adam has its
true derivative 1/ε at a zero gradient. A truly infinite slope, for weights that the alphas depend on, raises a
`UserError` that names the leaf and the transformation. `jax.jit` cannot raise an error for a value; there the affected
alphas are NaN or infinite, and `explain_non_finite` gives the reason.

**Arguments of the optimiser.** The optimiser receives `value` and `grad` of the training loss by keyword (for
`polyak_sgd`, `reduce_on_plateau`); their dependence on α is differentiated. Line searches that need `value_fn`, and
`lookahead`, are refused when the estimator is built.

**k steps.** Let the state s contain the weights and the state of the optimiser, `s_{i+1} = T(∇_w L_train(w_i, α; B_i),
s_i)`. The same two products per step, in reverse order, give the gradient of `L_val(w_k, α)`: see
`jdarts.hypergrad.k_step`.

**At the optimum.** If training has converged, `∇_w L_train(w*, α) = 0`. Differentiating this identity gives `dw*/dα =
−H⁻¹ ∇²_{wα} L_train` and thus `dJ/dα = d − ∇²_{αw} L_train H⁻¹ v`: see `jdarts.hypergrad.implicit`. One step of SGD has
`ξ I` in place of `H⁻¹`; the Neumann series `ξ Σ (I − ξH)^j` connects the two; `amended` has `ηH`.

**Noise and batch norm.** A batch carries its PRNG key (entry `key`). All evaluations on a batch therefore see the same
noise, and the derivative is that of one function. Batch norm uses the statistics of the batch and is differentiated
through. `microbatches=m` computes every gradient and product part by part, with the memory of one part. The result is
the same, except that batch norm sees the statistics of a part and noise is drawn for each part.

**Your own estimator** is a function with this signature. A search uses it if `search.hypergradient` or
`Method.hypergradient` holds the function that builds it, or the name under which `register` made it known. It may have
a memory (`jdarts.hypergrad.memory`), and an attribute `batches` if it takes several stacked training batches. The
building blocks are `gradients`, `mixed_product`, `hessian_product` and `both_products` for losses, and `hvp`,
`mixed_hvp` and `gauss_newton_vp` for any function.

Bad input raises `jdarts.errors.UserError`: bad options when the estimator is built; bad arguments (dtypes, the state of
the optimiser, the lengths of batches) before a loss is traced; bad results of a loss during tracing.
"""

from jdarts.hypergrad.amended_darts import amended
from jdarts.hypergrad.amortised import amortised, warm_started
from jdarts.hypergrad.central_difference import finite_difference, redraw_key
from jdarts.hypergrad.diagnosis import explain_non_finite
from jdarts.hypergrad.implicit import conjugate_gradient, implicit, neumann
from jdarts.hypergrad.k_step import Forward, Reverse, stack_batches
from jdarts.hypergrad.linear_system import Solver, System
from jdarts.hypergrad.lineax_solver import Lineax
from jdarts.hypergrad.memory import WithMemory, batches_of
from jdarts.hypergrad.menu import ESTIMATORS, WITH_TERMS, by_name, check_named, is_known, register
from jdarts.hypergrad.nystrom import Nystrom
from jdarts.hypergrad.one_step import first_order, look_back, single_level, unrolled
from jdarts.hypergrad.penalty import penalised
from jdarts.hypergrad.products import (
    alpha_gradients,
    both_products,
    gauss_newton_vp,
    gradients,
    hessian_product,
    hvp,
    mixed_hvp,
    mixed_product,
)
from jdarts.hypergrad.solvers import ConjugateGradient, GaussNewton, Neumann
from jdarts.hypergrad.types import Aux, Estimator, Loss

__all__ = [
    "ESTIMATORS",
    "WITH_TERMS",
    "Aux",
    "ConjugateGradient",
    "Estimator",
    "Forward",
    "GaussNewton",
    "Lineax",
    "Loss",
    "Neumann",
    "Nystrom",
    "Reverse",
    "Solver",
    "System",
    "WithMemory",
    "alpha_gradients",
    "amended",
    "amortised",
    "batches_of",
    "both_products",
    "by_name",
    "check_named",
    "conjugate_gradient",
    "explain_non_finite",
    "finite_difference",
    "first_order",
    "gauss_newton_vp",
    "gradients",
    "hessian_product",
    "hvp",
    "implicit",
    "is_known",
    "look_back",
    "mixed_hvp",
    "mixed_product",
    "neumann",
    "penalised",
    "redraw_key",
    "register",
    "single_level",
    "stack_batches",
    "unrolled",
    "warm_started",
]
