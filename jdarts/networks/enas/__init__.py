"""The networks of ENAS (Pham et al. 2018) that its release trains from scratch: `micro`, of cells, and `macro`.

They follow melodyguan/enas, src/cifar10. Classifiers have no bias there.
"""
