"""Published experiments, run again at a chosen scale, with the results beside the published ones.

    from jdarts import reproduce
    reproduce.names()                                   # "darts_cifar10", "imagenet", …
    reproduce.get("macro").tables                       # the published numbers
    reproduce.run("macro", Setting("smoke", folder))    # runs what is missing in the folder, and reports

The published numbers are in `jdarts.reproduce.published`. An experiment runs searches and trainings with the drivers of
`jdarts.pipeline`; their run folders lie in the folder of the experiment, and a second call reuses those that are
finished.
"""

from jdarts.reproduce.experiment import SCALES, Findings, Reproduction, Setting, Sheet
from jdarts.reproduce.registry import get, names, run

__all__ = ["SCALES", "Findings", "Reproduction", "Setting", "Sheet", "get", "names", "run"]
