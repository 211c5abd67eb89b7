"""Trained networks in forms that need no jdarts.

* `source`: a Flax module as readable source, with its weights. `layers`, `mobile_layers` and `recurrent_layers` hold
  the classes that it is put together from; `cells`, `mobile` and `recurrent` write what depends on the architecture.
* `weights`: the weights by the names of that module.
* `torch_files`: a `state_dict` by the names of the authors' PyTorch code.
* `onnx_file`: an ONNX model.
"""
