"""A trained network as a PyTorch `state_dict`, by the names of the authors' code (`jdarts.interop`)."""

import importlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from jdarts.errors import UserError
from jdarts.export.flax_files import refuse_others
from jdarts.export.packages import required
from jdarts.interop import save_torch_network, save_torch_recurrent
from jdarts.train.language.trained import TrainedLanguageModel
from jdarts.train.trained import TrainedNetwork

PACKAGES = {".safetensors": "safetensors.numpy", ".pth": "torch", ".pt": "torch", ".npz": "numpy"}
"""The packages that write files of a suffix."""


def check_torch_file(output: Path) -> None:
    """Raise `UserError` for another suffix, and for a package that is not installed."""
    if output.suffix not in PACKAGES:
        raise UserError(f"cannot write {output}; --format torch writes {', '.join(PACKAGES)}")
    required(PACKAGES[output.suffix], f"--format torch -o {output.name}")


def torch_file(network: TrainedNetwork | TrainedLanguageModel, output: Path) -> bytes:
    """The content of a file `output` with the `state_dict`. Raises `UserError` for a network without PyTorch names."""
    if isinstance(network, TrainedLanguageModel):
        arrays = save_torch_recurrent({"params": network.params})
    else:
        refuse_others(network, "torch")
        arrays = save_torch_network(network.variables, network.genotype, network.sizes)
    content, package = io.BytesIO(), PACKAGES[output.suffix]
    if package == "torch":
        torch: Any = importlib.import_module("torch")
        torch.save({name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}, content)
    elif package == "numpy":
        np.savez(content, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    else:
        return required(package, "").save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return content.getvalue()
