"""The weights of a trained network by the names of its stand-alone Flax module.

jdarts stacks the weights of parallel edges, of which a derived network has one, and names an array after its layer;
Flax' own layers have `kernel`, `scale` and `bias` without such an axis.
"""

from collections.abc import Mapping

import numpy as np

_NORM = {"scale", "bias", "mean", "var"}


def flax_weights(flat: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of `jdarts.train.trained.flat_variables`, by names such as `params/cell_0/…/depthwise_1/kernel`."""
    return dict(_flax_weight(name, np.asarray(array)) for name, array in flat.items())


def _flax_weight(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    folder, _, last = name.replace("/reduce/", "/").rpartition("/")
    here = f"{folder}/{last}"
    if last in _NORM:
        return here, array[0] if array.ndim == 2 else array
    if last == "kernel":  # of the classifier, or of a convolution of a mobile network
        return here if folder.endswith("classifier") else f"{folder}/conv/kernel", array
    if last.endswith("_bias"):
        return f"{here.removesuffix('_bias')}/bias", array
    if last.startswith("depthwise"):
        return f"{here}/kernel", array[0][:, :, None]  # [1, k, k, C] → [k, k, 1, C]
    if array.ndim == 3:
        return f"{here}/kernel", array[0][None, None]  # [1, in, out] → [1, 1, in, out]
    return f"{here}/kernel", array
