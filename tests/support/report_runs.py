"""Run folders as a search writes them, from random walks of the alphas; nothing is computed."""

import dataclasses
import json
from pathlib import Path

import numpy as np

from jdarts import spaces
from jdarts.analysis import indicators
from jdarts.analysis.monitor import OF_THE_NORMAL_CELL, collapse_indicators, findings
from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.runs.folder import RunFolder


def write_run(
    path: Path,
    *,
    seed=0,
    epochs=12,
    planned=None,
    drift=0.0,
    hessian_every=2,
    space="darts_cnn",
    cells=8,
    summary=True,
    **options,
) -> Path:
    """A search of `epochs` epochs (of `planned`) whose skip alphas drift upwards by `drift` an epoch."""
    config = Experiment(
        name=path.name,
        seed=seed,
        space=SpaceConfig(name=space, cells=cells),
        search=SearchConfig(epochs=planned or epochs, hessian_every=hessian_every, **options),
    )
    run = RunFolder.create(path, config)
    run.write_json("environment.json", {"jax": "0.0", "devices": "1 × <test> & device"})
    write_search(run.subfolder("search"), config, seed=seed, epochs=epochs, drift=drift)
    if summary:
        result = {"test_accuracy": 0.91, "parameters": 123456, "macs": 7890}
        run.write_json("summary.json", {"found": result, "random": {**result, "test_accuracy": 0.9}})
        for name in ("found", "random"):
            train = run.subfolder(f"train-{name}")
            for epoch in (1, 2):
                train.append("metrics", {"step": epoch, "epoch": epoch, "train_accuracy": 0.4 * epoch, "seconds": 2.0})
    return path


def write_search(folder: RunFolder, config: Experiment, *, seed: int, epochs: int, drift: float) -> None:
    space, rng = spaces.get(config.space.name), np.random.default_rng(seed)
    alphas = {name: 1e-3 * rng.normal(size=shape) for name, shape in space.alpha_shapes.items()}
    skip = {n: np.array([[op == "skip_connect" for op in ops] for ops in t]) for n, t in space.tables.items()}
    history = []
    for epoch in range(1, epochs + 1):
        alphas = {n: a + 0.06 * rng.normal(size=a.shape) + drift * skip[n] for n, a in alphas.items()}
        weights = {n: indicators.softmax(a) for n, a in alphas.items()}
        folder.append(
            "genotypes",
            {
                "step": 10 * epoch,
                "epoch": epoch,
                "genotype": space.derive(weights).to_text(),
                "alphas": {n: a.tolist() for n, a in alphas.items()},
            },
        )
        left_out = OF_THE_NORMAL_CELL if config.space.cells < 3 else ()
        measured = {n: v for n, v in collapse_indicators(weights, space).items() if n not in left_out}
        progress = 1 - np.exp(-4 * epoch / epochs)
        record = {
            "step": 10 * epoch,
            "epoch": epoch,
            "train_loss": 2.3 - 1.9 * progress,
            "train_accuracy": 0.1 + 0.85 * progress,
            "val_loss": 2.3 - 1.6 * progress + 0.02 * rng.normal(),
            "val_accuracy": 0.1 + 0.78 * progress + 0.01 * rng.normal(),
            **measured,
            "seconds": 30 + rng.normal(),
        }
        if config.search.hessian_every and epoch % config.search.hessian_every == 0:
            values = np.sort(np.append(0.03 * rng.normal(size=223), (0.12 + 3 * drift) * (1 + 4 * drift) ** epoch))[
                ::-1
            ]
            record["alpha_hessian_eigenvalues"] = values.tolist()
            record["dominant_eigenvalue"] = float(values[0])
            record["alpha_hessian_seconds"] = 4.0
        warned = {w["rule"] for past in history for w in past.get("warnings", ())}
        fresh = [{"rule": r, "text": t} for r, t in findings([*history, record], config.search) if r not in warned]
        history.append({**record, "warnings": fresh} if fresh else record)
        folder.append("metrics", history[-1])


def with_seeds(path: Path, seeds: list[int], epochs=8) -> Path:
    """A run whose searches of several seeds lie in `search/seed-N`; an epoch of all takes 3 seconds."""
    config = dataclasses.replace(Experiment(name=path.name), search=SearchConfig(epochs=epochs))
    search = RunFolder.create(path, config).subfolder("search")
    for seed in seeds:
        member = search.subfolder(f"seed-{seed}")
        write_search(member, config, seed=seed, epochs=epochs, drift=0.0)
        records = [{k: v for k, v in r.items() if k != "seconds"} for r in member.records("metrics")]
        member.write_text("metrics.jsonl", "".join(json.dumps(record) + "\n" for record in records))
    for epoch in range(1, epochs + 1):
        search.append("metrics", {"epoch": epoch, "members": len(seeds), "seconds": 3.0})
    return path
