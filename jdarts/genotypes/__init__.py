"""Discrete architectures of cell spaces: `Genotype` and its text forms.

jdarts reads five notations and writes the first three. Writing and reading again gives an equal genotype. The grammars
are in `jdarts.genotypes.notation`; text is parsed, never evaluated.

* DARTS text, `Genotype(normal=[('sep_conv_3x3', 0), …], normal_concat=range(2, 6), reduce=…, …)`: two
  `(op, source)` pairs a node. If a node of a cell does not have exactly two inputs (FairDARTS), the cell is written
  as triples `(op, source, target)`, an extension by jdarts. The output of other programs is read too: positional
  fields, a list for each node, `list(range(2, 6))`, `np.int64(0)`, arrays.
* JSON, with the fields of `Genotype` and `Cell`; also the DARTS fields above as a JSON object. With the field `family`
  it is a `BlockGenotype`, of NASNet, AmoebaNet, PNASNet or ENAS, whose only text form it is.
* NAS-Bench-201, `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`: one cell, no reduction cell.
* Recurrent cells (`RecurrentGenotype`) are DARTS text, `Genotype(recurrent=[('sigmoid', 0), …], concat=range(1, 9))`,
  or JSON with the field `recurrent`. Token lists are read too: `enas: 0 0 0 1 1 …` in the encoding of the ENAS release,
  `enas_lm: 0 2 1 0 …` in that of enas_lm.
* ENAS macro networks (`MacroArchitecture`) are `enas_macro: 0 3 0 0 1 …`, the arc of the ENAS release, or JSON with the
  fields `ops` and `skips`.
* Cells of the One-Shot space (`OneShotGenotype`) are `one_shot: 0,1>sep_conv_3x3 2>skip_connect+max_pool_3x3 …`, a word
  a choice block, or JSON with the field `blocks`.
* Mobile networks (`jdarts.genotypes.mobile`), which have no cells, are written `fairnas: conv_k3_c32_s2 mb_k3_c16 …`,
  or as JSON with the fields `mobile` and `layers`; `parse_architecture` and `load_architecture` read them too, as well
  as the codes of NAS-Bench-Macro, `22212220`.
* The name of a published genotype (`jdarts.genotypes.published`, for recurrent cells
  `jdarts.genotypes.published_recurrent`) or network (`jdarts.genotypes.published_networks`,
  `jdarts.genotypes.published_mobile`), in upper or lower case. It is read but not written.

A genotype may be part of a log or a Python module, after a timestamp or `NAME =` and before other lines. If a text
holds several genotypes, a name or a line number selects one.
"""

from jdarts.genotypes.blocks import BlockCell, BlockGenotype, block_cell
from jdarts.genotypes.enas import MacroArchitecture
from jdarts.genotypes.genotype import (
    BLOCK_OPS,
    DARTS_OPS,
    MORE_BLOCK_OPS,
    NASBENCH201_OPS,
    OPS,
    Cell,
    Edge,
    Genotype,
    excerpt,
)
from jdarts.genotypes.mobile import MobileArchitecture, MobileLayer
from jdarts.genotypes.notation.structured import read_json
from jdarts.genotypes.one_shot import OneShotGenotype
from jdarts.genotypes.random_wiring import RandomlyWired
from jdarts.genotypes.reading import (
    Architecture,
    is_published,
    load,
    load_architecture,
    parse,
    parse_architecture,
    parse_result,
)
from jdarts.genotypes.recurrent import RECURRENT_OPS, RecurrentGenotype

__all__ = [
    "BLOCK_OPS",
    "DARTS_OPS",
    "MORE_BLOCK_OPS",
    "NASBENCH201_OPS",
    "OPS",
    "RECURRENT_OPS",
    "Architecture",
    "BlockCell",
    "BlockGenotype",
    "Cell",
    "Edge",
    "Genotype",
    "MacroArchitecture",
    "MobileArchitecture",
    "MobileLayer",
    "OneShotGenotype",
    "RandomlyWired",
    "RecurrentGenotype",
    "block_cell",
    "excerpt",
    "is_published",
    "load",
    "load_architecture",
    "parse",
    "parse_architecture",
    "parse_result",
    "read_json",
]
