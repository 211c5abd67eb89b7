"""The networks of mobile architectures: ProxylessNAS, FairNAS, MnasNet, SPOS, NAS-Bench-Macro.

* `layers`: convolution with batch norm, squeeze-and-excitation, the split by channel parity.
* `blocks`: inverted residual, identity, the choice blocks of SPOS.
* `network`: the whole network; `size`: its checks and its size, by arithmetic.
* `supernet`: the one-shot supernet with a choice for each layer.
"""
