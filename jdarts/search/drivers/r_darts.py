"""R-DARTS (Zela et al., ICLR 2020): searches with different regularisation; validation accuracy chooses the best.

Each strength has a search and a short training of the found cell. The report lists validation and test accuracy of all
strengths; the test accuracy plays no part in the choice.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from jdarts import train
from jdarts.config import SearchConfig
from jdarts.genotypes import Genotype, parse_result
from jdarts.methods import Method
from jdarts.methods.robust_darts import r_darts_dp
from jdarts.search.found import genotype_file
from jdarts.search.search_run import SearchRun
from jdarts.search.single_loop import run_single_loop


def search(run: SearchRun) -> tuple[Genotype, None]:
    """The best cell of several searches; `strengths.json` lists all cells, `strength_i/` are the runs."""
    options, found = run.method.options, []
    for i, strength in enumerate(options["strengths"]):
        stage = run.stage(f"strength_{i}")
        title = f"{'weight decay' if options['by'] == 'l2' else 'drop-path'} {strength:g}"
        genotype = _searched(stage, strength, title)
        found.append({"strength": strength, **_trained(stage, genotype, title)})
    best = int(np.argmax([entry["val_accuracy"] for entry in found]))
    run.folder.write_json("strengths.json", [{**entry, "chosen": i == best} for i, entry in enumerate(found)])
    run.reporter.message(table(found, best, options["by"]))
    return parse_result(found[best]["genotype"]), None


def _searched(run: SearchRun, strength: float, title: str) -> Genotype:
    """The cell found with this strength; read from the run if it was found before."""
    if (run.folder.path / "genotype.txt").is_file():
        return parse_result((run.folder.path / "genotype.txt").read_text())
    settings, method = regularised(run.config.search, run.method, strength)
    search = run.split().stage("search", config=replace(run.config, search=settings), method=method)
    genotype = run_single_loop(search, title=f"search, {title}").genotype
    run.folder.write_text("genotype.txt", genotype_file(run.config, genotype))
    return genotype


def _trained(run: SearchRun, genotype: Genotype, title: str) -> dict[str, Any]:
    """Validation accuracy and result of a short training of `genotype`; read from the run if it was trained before."""
    folder, options = run.folder.subfolder("train"), run.method.options
    if not (folder.path / "result.json").is_file():
        short = replace(run.config.train, epochs=options["train_epochs"], val_fraction=options["val_fraction"])
        shared = {"resume": run.resume, "reporter": run.reporter, "title": f"train, {title}"}
        train.run_training(replace(run.config, train=short), genotype, run.dataset, folder, **shared)
    result = json.loads((folder.path / "result.json").read_text())
    return {"val_accuracy": folder.records("metrics")[-1]["val_accuracy"], **result}


def regularised(settings: SearchConfig, method: Method, strength: float) -> tuple[SearchConfig, Method]:
    """The settings and the method of the search with the weight decay, or the drop-path, `strength`."""
    plain = replace(method, driver=None)
    if method.options["by"] == "dp":
        dropping = r_darts_dp(drop_path=strength)
        return settings, replace(
            plain, edge_values=dropping.edge_values, cutout_probability=dropping.cutout_probability
        )
    return replace(settings, weight_optimizer=replace(settings.weight_optimizer, weight_decay=strength)), plain


def table(found: list[dict[str, Any]], best: int, by: str) -> str:
    """A text table of all searches, with the chosen one marked."""
    rows = [f"{'weight decay' if by == 'l2' else 'drop-path':>12}  validation    test  parameters"]
    for i, entry in enumerate(found):
        rows.append(
            f"{entry['strength']:12g}  {entry['val_accuracy']:10.2%}  {entry['test_accuracy']:6.2%}  "
            f"{entry['parameters']:>10,}{'  chosen by validation' if i == best else ''}"
        )
    return "\n".join(rows)
