"""SNAS (Xie et al., ICLR 2019, arXiv:1812.09926): soft Gumbel-softmax samples, one level.

`softmax((log softmax(α) + G) / λ)`, λ from 1 to 0.03 linearly over 150 epochs; weights and alphas move by the training
loss alone. The code starts the alphas at 1 + 0.01 · N(0, 1); the 1 has no effect on a softmax. CIFAR-10 2.85 ± 0.02 %.
DIFF: of the two released trainers one moves the alphas by Adam, one by SGD; Adam is followed. The resource cost is not
included.
"""

from jdarts import relaxation
from jdarts.methods.method import Method
from jdarts.methods.registry import register
from jdarts.schedules import ramp


@register
def snas(*, temperature_start: float = 1.0, temperature_end: float = 0.03) -> Method:
    """SNAS without a resource constraint."""
    temperature = ramp(temperature_start, temperature_end)
    return Method(
        name="snas",
        paper="Xie et al., ICLR 2019, arXiv:1812.09926",
        summary="soft Gumbel-softmax samples of falling temperature, single level",
        relax=lambda alphas, key, clock, space: relaxation.gumbel_softmax(alphas, key, temperature(clock)),
        derive_weights=relaxation.softmax,
        hypergradient="single_level",
    )
