"""Random search: the baseline of Li and Talwalkar (UAI 2019)."""

from dataclasses import replace

import numpy as np

from jdarts.genotypes import Genotype
from jdarts.search.cell_training import cell_training
from jdarts.search.search_run import SearchRun


def search(run: SearchRun) -> tuple[Genotype, None]:
    """The best of `samples` random cells, by validation accuracy or, on text, by the lowest validation perplexity.

    The accuracies come from a table (its `chosen_by`), or each cell is trained (`jdarts.search.cell_training`).
    """
    config, space, folder = run.config, run.space, run.folder
    rng = np.random.default_rng(config.seed)
    candidates = [space.random_genotype(int(s)) for s in rng.integers(2**31, size=run.method.options["samples"])]
    if (table := run.table) is not None:
        metric, sign = table.chosen_by, 1
        scores = [table.query(genotype)[metric] for genotype in candidates]
    else:
        training, scores = cell_training(run.data), []
        metric, sign = training.measure, training.sign
        for i, genotype in enumerate(candidates):
            sample = replace(run, folder=folder.subfolder(f"sample_{i}"))
            scores.append(training.train(sample, genotype, f"cell {i + 1} of {len(candidates)}"))
    folder.write_json(
        "samples.json", [{"genotype": g.to_text(), metric: s} for g, s in zip(candidates, scores, strict=True)]
    )
    return candidates[int(np.argmax(sign * np.array(scores)))], None
