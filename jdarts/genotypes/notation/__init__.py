"""Readers of the notations of genotypes, in papers, logs, modules and files. Text is parsed, never evaluated.

`jdarts.genotypes.parse` calls them. Every mistake is a `UserError` of one line that names its place.

* `structured`: JSON.
* `text`: DARTS text and NAS-Bench-201 arch strings, by recursive descent over the tokens of `tokens`.
* `recurrent`: DARTS text of recurrent cells, and token lists of ENAS.
* `places`: finds the genotypes in a longer text (a log, a Python module) and selects one.
"""
