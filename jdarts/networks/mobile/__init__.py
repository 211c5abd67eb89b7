"""The networks of mobile architectures: ProxylessNAS, FairNAS, MnasNet, SPOS, NAS-Bench-Macro.

* `layers`: convolution with batch norm, squeeze-and-excitation, the split by channel parity.
* `blocks`: inverted residual, identity, the choice blocks of SPOS.
* `network`: the whole network; `size`: its checks and its size, by arithmetic.
* `supernet`: the one-shot supernet with a choice for each layer.

Depthwise convolutions run in the form that suits the platform (`jdarts.kernels`). On two CPU cores this takes 0.12 of
the time of XLA's grouped convolutions for the gradient of the network 22212220 of NAS-Bench-Macro, and 0.07 for that of
FairNAS-A (batch 32, 32 × 32); FairNAS-A compiles in 26 s instead of 8.
"""
