"""Networks of the One-Shot space (Bender et al. 2018): `cell`, `network`, `supernet`, `size`."""
