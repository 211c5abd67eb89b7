"""The maps of the candidate ops on arrays, in the form that suits the platform.

Letters: N images, H × W pixels, C channels of one edge, T parallel edges that share a shape. Arrays are channels-last;
T edges lie side by side on the channel axis, `[N, H, W, T·C]`, edge-major, so that one call serves all T.

`reference` has each map in a few lines of `lax`. The functions here compute the same numbers in one of three forms:

* `impl="conv"`: XLA's convolution or window reduction. Its maximum can be differentiated only once.
* `impl="shift"`: sums of k² shifted slices, for CPUs, where XLA's grouped convolution and `reduce_window` are 5 to 20
  times slower. These are linear primitives (`linear_primitives`), with derivatives of every order and direction.
* `impl="dense"`: for matrix units. Nothing nonlinear stands between a depthwise and its pointwise convolution, so their
  kernels multiply out to one dense kernel, and all edges out of a node are one convolution. Pools are shifted.

`impl="auto"` takes `dense` on accelerators, `shift` on CPUs.

What makes a search fast on a CPU, each part measured against the form before it:

* Mixed edges are compiled one by one (`jdarts.staging`): XLA cannot fuse across them, which would repeat work and
  defeat vectorisation, and each form is compiled once for all edges and cells of a resolution.
* Depthwise convolutions and their input gradients are shifted sums. The gradient by the kernel, once half of an edge's
  backward pass, adds up images before it reduces. A stride's holes are never summed (`_carry_back`), and taps that
  meet only padding, as most do on small images, are left out.
* Pooling runs once a node, not once an edge; the convolutions of an edge read one padded image (`margin`).
* `cut` ends fusions where a person would, and has what is kept for later kept once.
* The derivative of batch norm is written out (`norm_primitives`): two reductions, also those of scale and shift; its
  output is all it keeps. Those at the ends of an edge's ops are one weighted sum (`normed_sum`), whose derivatives
  share their sums.
* A 1 × 1 convolution is a product of two matrices (`product`), whose gradients copy no transposed image.
* ReLU keeps a byte a pixel (`jdarts.kernels.relu`), not an image of zeros to choose from.
* Weights are one vector, cut into views; huge pages (`jdarts.commands.process`) spare page faults.

On an accelerator every kernel costs some microseconds, and a mixed edge has hundreds of small ones:

* All that is ready at the same time is normalised at the same time (`jdarts.kernels.joint_norm`).
* Between two convolutions nothing is kept for the backward pass, which computes it again inside its kernels.
* Dilated convolutions are plain ones on every other pixel; narrow groups are blocks of one dense kernel (`_dense`).
* The step of a long search is one program, or a few, each of which starts as a CUDA graph (`jdarts.staging`).

Semantics are PyTorch's: symmetric padding, stride counted from the first pixel, `count_include_pad=False`.
"""

from jdarts.kernels.forms import (
    avg_pool,
    convolution,
    cut,
    depthwise,
    from_phases,
    halve,
    max_pool,
    normalise,
    pointwise,
    product,
    separable,
    standardise,
    takes_phases,
    to_phases,
)
from jdarts.kernels.joint_norm import (
    by_image,
    mix_standardised,
    recomputing,
    saved,
    standardise_each,
)
from jdarts.kernels.normed_sum import normed_sum
from jdarts.kernels.platform import Impl, Machine, description, for_accelerators, machine, on_accelerator, resolve
from jdarts.kernels.relu import relu
from jdarts.kernels.weighted_sum import weighted_sum

__all__ = [
    "Impl",
    "Machine",
    "avg_pool",
    "by_image",
    "convolution",
    "cut",
    "depthwise",
    "description",
    "for_accelerators",
    "from_phases",
    "halve",
    "machine",
    "max_pool",
    "mix_standardised",
    "normalise",
    "normed_sum",
    "on_accelerator",
    "pointwise",
    "product",
    "recomputing",
    "relu",
    "resolve",
    "saved",
    "separable",
    "standardise",
    "standardise_each",
    "takes_phases",
    "to_phases",
    "weighted_sum",
]
