"""Language models with recurrent cells: those of DARTS (Liu et al. 2019, §2.1, §3.2) and ENAS (Pham et al. 2018, §2.1).

* `cell`: one time step of a derived cell and of the search cell, as the papers' equations.
* `masks`: dropout whose masks are constant over a sequence.
* `language_model`: embedding, recurrence over time, decoder.
* `model`: the network of a genotype; `lstm`: an LSTM, to compare with.
* `supernet`: the weight-sharing network of DARTS, which takes op weights; `enas`: that of ENAS, which takes an
  architecture; `norm`: their batch norm.
* `size`: parameters and operations.
"""

from jdarts.networks.recurrent.enas import EnasSupernet
from jdarts.networks.recurrent.language_model import Outputs
from jdarts.networks.recurrent.lstm import LSTM
from jdarts.networks.recurrent.model import RecurrentModel
from jdarts.networks.recurrent.supernet import RecurrentSupernet

__all__ = ["LSTM", "EnasSupernet", "Outputs", "RecurrentModel", "RecurrentSupernet"]
