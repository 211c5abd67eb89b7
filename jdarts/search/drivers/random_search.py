"""Random search: the baseline of Li and Talwalkar (UAI 2019)."""

import numpy as np

from jdarts import train
from jdarts.benchmarks import load_table
from jdarts.errors import UserError
from jdarts.genotypes import Genotype
from jdarts.search.search_run import SearchRun


def search(run: SearchRun) -> tuple[Genotype, None]:
    """The best of `samples` random cells, by validation accuracy.

    The accuracies come from a table (after 12 epochs), or each cell is trained with `config.train` and evaluated on the
    validation images of `train.val_fraction`.
    """
    config, space, folder = run.config, run.space, run.folder
    rng = np.random.default_rng(config.seed)
    candidates = [space.random_genotype(int(s)) for s in rng.integers(2**31, size=run.method.options["samples"])]
    if config.search.benchmark_table:
        table = load_table(config.search.benchmark_table)
        metric = "c10_valid_12"
        scores = [table.query(genotype)[metric] for genotype in candidates]
    else:
        if config.train.val_fraction <= 0:
            raise UserError("random_search compares cells on validation images; set train.val_fraction, e.g. 0.1")
        metric, scores = "val_accuracy", []
        for i, genotype in enumerate(candidates):
            sample, title = folder.subfolder(f"sample_{i}"), f"cell {i + 1} of {len(candidates)}"
            shared = {"resume": run.resume, "reporter": run.reporter, "title": title}
            train.run_training(config, genotype, run.dataset, sample, **shared)
            scores.append(sample.records("metrics")[-1]["val_accuracy"])
    folder.write_json(
        "samples.json", [{"genotype": g.to_text(), metric: s} for g, s in zip(candidates, scores, strict=True)]
    )
    return candidates[int(np.argmax(scores))], None
