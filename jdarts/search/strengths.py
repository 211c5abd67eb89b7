"""R-DARTS (Zela et al., ICLR 2020): searches of different regularisation, the best chosen by validation.

Every strength has a search and a short training of its cell. All of them are told, with validation and test accuracy;
only the validation accuracy chooses.
"""

import dataclasses
import json
from typing import Any

import numpy as np

from jdarts import train
from jdarts.config import Experiment
from jdarts.data import Dataset
from jdarts.genotypes import Genotype, parse
from jdarts.methods import Method
from jdarts.methods.robust_darts import r_darts_dp
from jdarts.runs.folder import RunFolder
from jdarts.runs.reporter import Reporter
from jdarts.search.driver import run_plain
from jdarts.search.found import genotype_file
from jdarts.search.hooks import Watch
from jdarts.spaces.space import Space


def run_strengths(
    config: Experiment,
    space: Space,
    data: Dataset,
    run: RunFolder,
    *,
    method: Method,
    resume: bool,
    reporter: Reporter,
    watch: Watch,
) -> tuple[Genotype, None]:
    """The best cell of several searches; `strengths.json` holds all of them, `strength_i/` the runs."""
    options, found = method.options, []
    training = dataclasses.replace(config.train, epochs=options["train_epochs"], val_fraction=options["val_fraction"])
    for i, strength in enumerate(options["strengths"]):
        title = f"{'weight decay' if options['by'] == 'l2' else 'drop-path'} {strength:g}"
        folder = run.subfolder(f"strength_{i}")
        now, searching = regularised(config, method, strength)
        if (folder.path / "genotype.txt").is_file():
            genotype = parse((folder.path / "genotype.txt").read_text())
        else:
            outcome = run_plain(
                now,
                space,
                data.for_search(config.data),
                folder.subfolder("search"),
                searching,
                resume=resume,
                reporter=reporter,
                title=f"search, {title}",
                watch=watch,
            )
            genotype = outcome.genotype
            folder.write_text("genotype.txt", genotype_file(config, genotype))
        short = folder.subfolder("train")
        if not (short.path / "result.json").is_file():
            short_config = dataclasses.replace(config, train=training)
            train.run_training(
                short_config, genotype, data, short, resume=resume, reporter=reporter, title=f"train, {title}"
            )
        result = json.loads((short.path / "result.json").read_text())
        val_accuracy = short.records("metrics")[-1]["val_accuracy"]
        found.append({"strength": strength, "val_accuracy": val_accuracy, **result})
    best = int(np.argmax([entry["val_accuracy"] for entry in found]))
    run.write_json("strengths.json", [{**entry, "chosen": i == best} for i, entry in enumerate(found)])
    reporter.message(table(found, best, options["by"]))
    return parse(found[best]["genotype"]), None


def regularised(config: Experiment, method: Method, strength: float) -> tuple[Experiment, Method]:
    """The configuration and the method of the search with this weight decay or drop-path."""
    plain = dataclasses.replace(method, driver=None)
    if method.options["by"] == "dp":
        dropping = r_darts_dp(drop_path=strength)
        return config, dataclasses.replace(
            plain, edge_values=dropping.edge_values, cutout_probability=dropping.cutout_probability
        )
    optimizer = dataclasses.replace(config.search.weight_optimizer, weight_decay=strength)
    return dataclasses.replace(config, search=dataclasses.replace(config.search, weight_optimizer=optimizer)), plain


def table(found: list[dict[str, Any]], best: int, by: str) -> str:
    """All searches as lines of text, the chosen one marked."""
    rows = [f"{'weight decay' if by == 'l2' else 'drop-path':>12}  validation    test  parameters"]
    for i, entry in enumerate(found):
        rows.append(
            f"{entry['strength']:12g}  {entry['val_accuracy']:10.2%}  {entry['test_accuracy']:6.2%}  "
            f"{entry['parameters']:>10,}{'  chosen by validation' if i == best else ''}"
        )
    return "\n".join(rows)
