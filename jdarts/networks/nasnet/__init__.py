"""The networks of NASNet-type cells as released: NASNet, AmoebaNet and PNASNet.

* `layout`: which cell reads the outputs of which, without JAX.
* `layers`: convolutions, pools and reductions; `ops`: the ops of a block; `cell`: a cell.
* `network`: the whole network, its checks and its size.

They follow tensorflow/models (slim/nets/nasnet) and tensorflow/tpu (amoeba_net). XLA's convolutions compute them; on a
CPU they are several times slower than the derived networks of DARTS cells (`jdarts.kernels`).
"""
