"""The text that `jdarts` without arguments prints: the commands in the order in which one uses them."""

GUIDE = """\
jdarts: neural architecture search in JAX. In this order:

  jdarts run configs/quickstart.py                        try it: search, retrain and test in two minutes
  jdarts methods, jdarts spaces                           choose a search method and a search space
  jdarts search CONFIG --data.source folder --data.path DIR     search on your images
  jdarts report runs/NAME                                 look at the search: one HTML file
  jdarts train CONFIG --data.path DIR --genotype runs/NAME      train the found network from scratch
  jdarts predict runs/NAME-train photos/                  classify images with it
  jdarts export runs/NAME-train --format flax -o network.py     take it away

CONFIG is a file in configs/ or your own; jdarts search CONFIG --help lists all settings. --resume continues an
interrupted run. jdarts --help lists all commands, jdarts COMMAND --help the options of one.
"""
