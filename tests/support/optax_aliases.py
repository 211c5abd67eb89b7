"""Every optimiser of optax and its wrappers, by name."""

import jax
import optax
from optax import contrib

RATE = 0.01
_PLAIN = (
    "adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars lion nadam nadamw "
    "novograd optimistic_adam_v2 optimistic_gradient_descent radam rmsprop rprop sgd sign_sgd signum sm3 yogi"
)
_CONTRIBUTED = "acprop ademamix adopt dadapt_adamw dog dowg madgrad momo momo_adam muon prodigy schedule_free_sgd"
_BEFORE_SGD = {
    "adaptive_grad_clip": lambda: optax.adaptive_grad_clip(0.01),
    "centralize": optax.centralize,
    "clip": lambda: optax.clip(0.5),
    "clip_by_block_rms": lambda: optax.clip_by_block_rms(0.01),
    "clip_by_global_norm": lambda: optax.clip_by_global_norm(0.1),
    "normalize_by_update_norm": optax.normalize_by_update_norm,
    "reduce_on_plateau": lambda: contrib.reduce_on_plateau(patience=0, cooldown=0, factor=0.5),
    "scale_by_distance_over_gradients": optax.scale_by_distance_over_gradients,
    "scale_by_param_block_norm": optax.scale_by_param_block_norm,
    "scale_by_param_block_rms": optax.scale_by_param_block_rms,
    "scale_by_stddev": optax.scale_by_stddev,
    "scale_by_trust_ratio": optax.scale_by_trust_ratio,
    "zero_nans": optax.zero_nans,
}
_WRAPPED = {
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(RATE), 3),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adam)(RATE),
    "lbfgs": lambda: optax.lbfgs(RATE, linesearch=None),
    "masked": lambda: optax.masked(optax.adam(RATE), lambda w: jax.tree.map(lambda leaf: leaf.ndim > 1, w)),
    "MultiSteps": lambda: optax.MultiSteps(optax.adam(RATE), 2).gradient_transformation(),
    "noisy_sgd": lambda: optax.noisy_sgd(RATE, key=0),
    "partition": lambda: optax.partition(
        {"matrix": optax.adam(RATE), "vector": optax.rmsprop(RATE)},
        lambda w: jax.tree.map(lambda leaf: "matrix" if leaf.ndim > 1 else "vector", w),
    ),
    "polyak_sgd": lambda: optax.polyak_sgd(max_learning_rate=10.0),
    "rmsprop_centered": lambda: optax.rmsprop(RATE, centered=True, momentum=0.9, nesterov=True),
}


def _named(name):
    return lambda: getattr(optax, name, None)(RATE) if hasattr(optax, name) else _contributed(name)


def _contributed(name):
    maker = getattr(contrib, name)
    return maker() if name in ("dog", "dowg") else maker(RATE)


ALIASES = {
    **{name: _named(name) for name in f"{_PLAIN} {_CONTRIBUTED}".split()},
    **{
        name: lambda make=make: optax.chain(make(), optax.sgd(RATE, momentum=0.9)) for name, make in _BEFORE_SGD.items()
    },
    **_WRAPPED,
}
