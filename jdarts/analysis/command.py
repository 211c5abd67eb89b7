"""`jdarts analyze RUN`: the analyses of a run folder, as `analysis.json` and figures in its subfolder `analysis`."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jdarts.analysis import figures, indicators
from jdarts.analysis.alpha_hessian import alpha_hessian
from jdarts.analysis.compiling import compile_pieces
from jdarts.analysis.correlation import gradient_correlation, last_cell, op_groups, operator_gradients, weight_gradient
from jdarts.analysis.directions import flatten
from jdarts.analysis.discretisation import discretisation_gap
from jdarts.analysis.landscape import Grid, eigen_directions, gradient_directions, landscape, random_directions
from jdarts.analysis.live import LiveSearch
from jdarts.analysis.run_folders import open_run
from jdarts.analysis.weight_curvature import hutchinson_trace, weight_product, weight_spectrum
from jdarts.data.text import TextData
from jdarts.errors import UserError
from jdarts.runs.folder import RunFolder
from jdarts.runs.kinds import find_run

PARTS = ("hessian", "landscape", "correlation", "gap", "weights")
DEFAULT = ("hessian", "landscape", "correlation", "gap")
DIRECTIONS = ("random", "gradient", "eigenvectors")


@dataclass(frozen=True)
class AnalysisOptions:
    """Options of the analyses.

    Attributes:
      parts: names of the analyses; None is `DEFAULT`, of text without `correlation`.
      batches: number of batches.
      batch_size: images per batch, or columns of text; None: the batch size of the search.
      points: grid points per side of the landscape.
      directions: kind of the landscape's directions.
      chunk: directions of the Hessian that go through the network at once; None: chosen by the batch.
      train_mode: use batch statistics in batch norm for the Hessian, as RobustDARTS does.
      weight_decay: number added to the Hessian's diagonal.
      seed: seed of all draws.
    """

    parts: tuple[str, ...] | None = None
    batches: int = 2
    batch_size: int | None = None
    points: int = 11
    directions: str = "random"
    chunk: int | None = None
    train_mode: bool = True
    weight_decay: float = 0.0
    seed: int = 0

    def __post_init__(self):
        for part in self.parts or ():
            if part not in PARTS:
                raise UserError(f"unknown analysis {part!r}; choose from {', '.join(PARTS)}")
        if self.directions not in DIRECTIONS:
            raise UserError(f"directions is {self.directions!r}; choose from {', '.join(DIRECTIONS)}")


def analyze(
    path: str | Path, options: AnalysisOptions, *, imports: Sequence[str] = (), tell: Callable[[str], None] = print
) -> Path:
    """Run the chosen analyses on the newest checkpoint of a run folder; return the path of `analysis.json`.

    `path`, `imports` and errors are as for `open_run`. Raises `UserError` also for options that do not fit the data.
    """
    live = open_run(path, imports=imports, warn=lambda text: tell(f"warning: {text}"))
    one_of_several = Path(path).parent.name == "search"
    folder = (Path(path) if one_of_several else find_run(path)) / "analysis"
    folder.mkdir(exist_ok=True)
    epoch = live.epoch
    parts = _parts(live, options)
    tell(f"{path}: epoch {epoch}, {live.w.size:,} weights, {sum(a.size for a in live.alphas.values())} alphas")
    result: dict[str, Any] = {
        "step": int(live.state.step),
        "epoch": epoch,
        "device": jax.devices()[0].device_kind,
        "options": {name: getattr(options, name) for name in options.__dataclass_fields__} | {"parts": parts},
        "genotype": live.genotype.to_text(),
        "indicators": indicators.summary(live.op_weights, live.space.tables),
    }
    analyses = {
        "hessian": _hessian,
        "landscape": _landscape,
        "correlation": _correlation,
        "gap": _gap,
        "weights": _weights,
    }
    for name in parts:
        started = time.monotonic()
        result[name], drawn = analyses[name](live, options)
        result[name]["seconds"] = round(time.monotonic() - started, 2)
        written = [figures.save(figure, folder, stem)[0].name for stem, figure in drawn.items()]
        tell(f"{name}: {_told(name, result[name])} ({result[name]['seconds']:.1f} s; {', '.join(written)})")
    return RunFolder(folder).write_json("analysis.json", result)


def _parts(live: LiveSearch, options: AnalysisOptions) -> tuple[str, ...]:
    """The analyses to run; `UserError` if one of those asked for has no meaning for the search."""
    without_ops = isinstance(live.data, TextData)
    if options.parts is None:
        return tuple(part for part in DEFAULT if not (without_ops and part == "correlation"))
    if without_ops and "correlation" in options.parts:
        raise UserError(
            "correlation compares the gradients of the weights of each op, which recurrent cells do not have; use "
            "--hessian, --landscape, --gap or --weights"
        )
    return tuple(part for part in PARTS if part in options.parts)


def _told(name: str, found: dict[str, Any]) -> str:
    if name == "hessian":
        return f"λ max {found['max_eigenvalue']:.4g} ± {found['errors'][0] or float('nan'):.2g}"
    if name == "landscape":
        return f"loss {np.min(found['loss']):.4g} to {np.max(found['loss']):.4g}"
    if name == "correlation":
        means = [f"{s} {np.nanmean([c['cosine'] for c in ops.values()]):+.3f}" for s, ops in found["schemes"].items()]
        return f"mean cosine: {', '.join(means)}"
    if name == "gap":
        return f"{found['gap']:+.2%}, recalibrated {found['gap_recalibrated']:+.2%}"
    return f"largest {found['largest']:.4g}, trace {found['trace']:.4g} ± {found['trace_error']:.2g}"


def _batches(live: LiveSearch, options: AnalysisOptions, split: Any = "val") -> list:
    return live.batches(options.batches, split=split, size=options.batch_size, seed=options.seed)


def _measured(live: LiveSearch, options: AnalysisOptions):
    return alpha_hessian(
        live.loss(train=options.train_mode),
        live.w,
        live.alphas,
        _batches(live, options),
        chunk=options.chunk,
        weight_decay=options.weight_decay,
        compile=compile_pieces,
    )


def _hessian(live: LiveSearch, options: AnalysisOptions) -> tuple[dict, dict]:
    found = _measured(live, options)
    numbers = {
        "max_eigenvalue": found.max_eigenvalue,
        "eigenvalues": found.eigenvalues,
        "errors": [None if np.isnan(e) else float(e) for e in found.errors],
        "batch_max_eigenvalues": found.batch_eigenvalues,
        "gradient": found.gradient,
        "asymmetry": found.asymmetry,
        "shift_residual": found.shift_residual,
        "matrix": found.matrix,
    }
    return numbers, {"alpha_hessian": figures.spectrum_figure(found)}


def _landscape(live: LiveSearch, options: AnalysisOptions) -> tuple[dict, dict]:
    key = jax.random.key(options.seed)
    names = ("direction 1", "direction 2")
    if options.directions == "random":
        directions = random_directions(key, live.alphas)
    else:
        hessian = _measured(live, options) if options.directions == "eigenvectors" else None
        if hessian is not None:
            directions, names = eigen_directions(hessian.eigenvectors, live.alphas), ("eigenvector 1", "eigenvector 2")
        else:
            directions, names = gradient_directions(key, _slope(live, options), live.alphas), ("gradient", "orthogonal")
    found = landscape(
        live.loss(train=False),
        live.w,
        live.alphas,
        _batches(live, options),
        Grid(directions, points=options.points),
        compile=compile_pieces,
    )
    drawn = {"landscape": figures.landscape_figure({f"epoch {live.epoch}": found}, axes=names)}
    if options.points > 1:
        drawn["landscape_surface"] = figures.surface_figure(found, axes=names)
    return {"directions": options.directions, **found._asdict()}, drawn


def _slope(live: LiveSearch, options: AnalysisOptions) -> Any:
    """The mean gradient by the alphas, `[n]`."""
    loss, (vector, unflatten) = live.loss(train=options.train_mode), flatten(live.alphas)
    slope = compile_pieces(jax.grad(lambda v, w, batch: loss(w, unflatten(v), batch)[0]))
    return jnp.mean(jnp.stack([slope(vector, live.w, batch) for batch in _batches(live, options)]), 0)


def sampling_schemes(live: LiveSearch, options: AnalysisOptions) -> dict[str, Sequence[tuple[Any, Any]]]:
    """Pairs (batch of the weights, batch of the alphas), drawn as in DARTS and Single-DARTS."""
    train = live.batches(options.batches + 1, split="train", size=options.batch_size, seed=options.seed)
    val = _batches(live, options)
    return {
        "two halves (DARTS)": list(zip(train, val, strict=False)),
        "same half, two batches": list(itertools.pairwise(train)),
        "same batch (Single-DARTS)": [(batch, batch) for batch in train[:-1]],
    }


def _correlation(live: LiveSearch, options: AnalysisOptions) -> tuple[dict, dict]:
    gradient = weight_gradient(live.loss(train=True), compile=compile_pieces)
    weights = live.tree(live.w)
    last = last_cell(weights)
    groups = {
        name: lambda vector, pick=pick: pick(live.tree(vector))
        for name, pick in op_groups(weights, cells=[last]).items()
    }
    schemes = {}
    for scheme, pairs in sampling_schemes(live, options).items():
        found = [gradient_correlation(gradient, live.w, live.alphas, a, b, groups) for a, b in pairs]
        schemes[scheme] = {op: type(found[0][op])(*np.mean([f[op] for f in found], 0).tolist()) for op in groups}
    gradients = operator_gradients(
        live.loss(train=True, takes="op_weights"),
        live.w,
        live.op_weights,
        _batches(live, options)[0],
        live.space.tables,
        compile=compile_pieces,
    )
    numbers = {
        "cell": last,
        "schemes": {scheme: {op: c._asdict() for op, c in ops.items()} for scheme, ops in schemes.items()},
        "operator_gradients": gradients,
    }
    drawn = {
        "gradient_correlation": figures.correlation_figure(schemes),
        "operator_gradients": figures.operator_figure(gradients),
    }
    return numbers, drawn


def _gap(live: LiveSearch, options: AnalysisOptions) -> tuple[dict, dict]:
    found = discretisation_gap(live)
    return found, {"discretisation_gap": figures.gap_figure(found)}


def _weights(live: LiveSearch, options: AnalysisOptions) -> tuple[dict, dict]:
    batch = _batches(live, options)[0]
    product = weight_product(live.loss(train=options.train_mode), live.w, live.alphas, batch, compile=compile_pieces)
    key, size = jax.random.key(options.seed), live.w.size
    spectrum = weight_spectrum(product, size, key, steps=min(30, size), probes=2)
    trace = hutchinson_trace(product, size, jax.random.fold_in(key, 1), probes=8)
    numbers = {
        "largest": spectrum.largest,
        "smallest": spectrum.smallest,
        "trace": trace.mean,
        "trace_error": trace.error,
        "nodes": spectrum.nodes,
        "shares": spectrum.weights,
    }
    return numbers, {"weight_spectrum": figures.density_figure(spectrum)}
