"""Randomly wired networks (Xie et al. 2019, arXiv:1904.01569): `network` builds them, `size` counts them."""
