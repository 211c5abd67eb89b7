"""Figures of analyses, made with matplotlib, legible at half size and for colour-blind readers.

Each function returns a `Figure`; `save` writes it as SVG and PNG. Figures do not use a pyplot session, so they work in
scripts, in threads and in notebooks, which display them automatically.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from jdarts.analysis.alpha_hessian import AlphaHessian
from jdarts.analysis.correlation import Correlation
from jdarts.analysis.landscape import Landscape
from jdarts.analysis.weight_curvature import Spectrum

COLOURS = ("#0b61a4", "#c25400", "#00795a", "#a8437f", "#6a5200", "#2a8fc4", "#5b6675", "#8c2d04")
LEARNABLE, FREE = COLOURS[0], COLOURS[1]


def figure(columns: int = 1, *, width: float = 5.2, height: float = 3.6, **options: Any) -> tuple[Figure, list]:
    """A figure with `columns` axes side by side, in the common style."""
    fig = Figure(figsize=(width * columns, height), layout="constrained")
    FigureCanvasAgg(fig)
    axes = list(np.ravel(fig.subplots(1, columns, **options)))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=11)
        axis.xaxis.label.set_size(12)
        axis.yaxis.label.set_size(12)
        axis.title.set_size(12)
    return fig, axes


def save(fig: Figure, folder: Path, name: str) -> list[Path]:
    """`NAME.svg` and `NAME.png` in `folder`."""
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    for path in paths:
        fig.savefig(path, dpi=160, metadata={"Date": None} if path.suffix == ".svg" else None)
    return paths


def spectrum_figure(hessian: AlphaHessian, title: str = "") -> Figure:
    """Eigenvalues by rank with error bars, and the matrix itself."""
    fig, (left, right) = figure(2)
    n = len(hessian.eigenvalues)
    rank = np.arange(1, n + 1)
    left.axhline(0, color="#9aa3ad", lw=0.8)
    left.errorbar(
        rank,
        hessian.eigenvalues,
        yerr=None if np.isnan(hessian.errors).all() else hessian.errors,
        fmt="o",
        ms=3,
        lw=0.8,
        color=COLOURS[0],
    )
    left.set(xlabel="rank", ylabel="eigenvalue of ∂²L/∂α²", title=title or f"λ max = {hessian.max_eigenvalue:.3g}")
    scale = np.quantile(np.abs(hessian.matrix), 0.995) or 1.0
    image = right.imshow(hessian.matrix, cmap="RdBu_r", vmin=-scale, vmax=scale, interpolation="nearest")
    right.set(xlabel="alpha", ylabel="alpha", title="Hessian: normal, then reduce")
    fig.colorbar(image, ax=right, shrink=0.85)
    return fig


def landscape_figure(
    landscapes: Mapping[str, Landscape], *, axes: tuple[str, str] = ("direction 1", "direction 2")
) -> Figure:
    """Contours of loss (above) and accuracy (below), one column per name, on common colour scales."""
    columns = len(landscapes)
    fig = Figure(figsize=(4.3 * columns, 7.2), layout="constrained")
    FigureCanvasAgg(fig)
    grid = np.atleast_2d(fig.subplots(2, columns, squeeze=False))
    for row, (field, label, cmap) in enumerate(
        (("loss", "loss, nats", "viridis_r"), ("accuracy", "accuracy", "cividis"))
    ):
        values = [getattr(found, field) for found in landscapes.values()]
        low, high = min(np.nanmin(v) for v in values), max(np.nanmax(v) for v in values)
        levels = np.linspace(low, high if high > low else low + 1e-6, 15)
        shown = None
        for column, (name, found) in enumerate(landscapes.items()):
            axis = grid[row, column]
            if np.isnan(values[column]).all() or min(values[column].shape) < 2:
                axis.axis("off")
                continue
            shown = axis.contourf(found.x, found.y, values[column].T, levels=levels, cmap=cmap, extend="both")
            axis.contour(found.x, found.y, values[column].T, levels=levels, colors="white", linewidths=0.4)
            axis.plot(0, 0, "+", color="white", ms=12, mew=2.5)
            axis.plot(0, 0, "+", color="black", ms=10, mew=1.2)
            axis.set(xlabel=axes[0], ylabel=axes[1], title=name if row == 0 else "")
            axis.tick_params(labelsize=11)
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.yaxis.set_major_locator(MaxNLocator(5))
            axis.xaxis.label.set_size(12)
            axis.yaxis.label.set_size(12)
        if shown is not None:
            bar = fig.colorbar(shown, ax=list(grid[row]), shrink=0.9, format="%.3g", ticks=levels[::3])
            bar.set_label(label, size=12)
            bar.ax.tick_params(labelsize=11)
    return fig


def surface_figure(
    landscape: Landscape, *, axes: tuple[str, str] = ("direction 1", "direction 2"), title: str = ""
) -> Figure:
    """The loss as a surface plot, like those of DARTS- and SmoothDARTS."""
    fig = Figure(figsize=(5.6, 4.4), layout="constrained")
    FigureCanvasAgg(fig)
    axis: Any = fig.add_subplot(projection="3d")
    x, y = np.meshgrid(landscape.x, landscape.y, indexing="ij")
    axis.plot_surface(x, y, landscape.loss, cmap="viridis_r", linewidth=0.2, edgecolor="#333333", antialiased=True)
    axis.set(xlabel=axes[0], ylabel=axes[1], title=title)
    axis.set_zlabel("loss, nats", labelpad=10)
    for each in (axis.xaxis, axis.yaxis, axis.zaxis):
        each.set_major_locator(MaxNLocator(4))
        each.label.set_size(11)
    axis.tick_params(axis="z", pad=6)
    axis.view_init(elev=30, azim=-125)
    return fig


def correlation_figure(schemes: Mapping[str, Mapping[str, Correlation]]) -> Figure:
    """Cosine of the weight gradients on two batches for each kind of op; one group of bars per sampling scheme."""
    fig, (axis,) = figure(width=7.2, height=3.8)
    ops = list(next(iter(schemes.values())))
    width = 0.8 / len(schemes)
    hatches = ("", "///", "...", "xx")
    for i, (name, found) in enumerate(schemes.items()):
        at = np.arange(len(ops)) + (i - (len(schemes) - 1) / 2) * width
        axis.bar(
            at,
            [found[op].cosine for op in ops],
            width * 0.92,
            label=name,
            color=COLOURS[i],
            hatch=hatches[i % 4],
            edgecolor="white",
        )
    axis.axhline(0, color="#333333", lw=0.8)
    axis.set_xticks(
        range(len(ops)), [op.replace("_connect", "").replace("_", " ") for op in ops], rotation=20, ha="right"
    )
    axis.set(ylabel="cosine of ∂L(A)/∂θ, ∂L(B)/∂θ", ylim=(min(-0.1, axis.get_ylim()[0]), 1.05))
    axis.legend(frameon=False, fontsize=10, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(schemes))
    return fig


def operator_figure(gradients: Mapping[str, Mapping[str, float]]) -> Figure:
    """Mean `∂L/∂p` of each op, by cell; learnable ops and ops without weights have different colours."""
    from jdarts.analysis.indicators import PARAMETER_FREE

    fig, axes = figure(len(gradients), width=4.4, sharey=True)
    for axis, (cell, values) in zip(axes, gradients.items(), strict=True):
        names = list(values)
        colours = [FREE if op in PARAMETER_FREE else LEARNABLE for op in names]
        axis.barh(range(len(names)), [values[op] for op in names], color=colours)
        axis.set_yticks(range(len(names)), [op.replace("_", " ") for op in names])
        axis.axvline(0, color="#333333", lw=0.8)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.set(xlabel="mean ∂L/∂p (negative: more helps)", title=f"{cell} cell")
    axes[0].invert_yaxis()
    handles = [Patch(color=LEARNABLE, label="with weights"), Patch(color=FREE, label="without weights")]
    fig.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    return fig


def gap_figure(gap: Mapping[str, Any]) -> Figure:
    """Accuracy with soft and one-hot op weights, with the running and with recalibrated batch-norm statistics."""
    fig, (axis,) = figure()
    for i, (name, label) in enumerate((("soft", "soft weights"), ("one_hot", "derived ops only"))):
        values = [gap[name]["accuracy"], gap[f"{name}_recalibrated"]["accuracy"]]
        bars = axis.bar(
            np.arange(2) + (i - 0.5) * 0.38,
            values,
            0.36,
            label=label,
            color=COLOURS[i],
            hatch=("", "///")[i],
            edgecolor="white",
        )
        axis.bar_label(bars, [f"{100 * v:.1f} %" for v in values], fontsize=10, padding=2)
    axis.set_xticks([0, 1], ["running batch norm", "recalibrated"])
    axis.set(ylabel="validation accuracy", ylim=(0, 1.12))
    axis.legend(frameon=False, fontsize=10, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return fig


def density_figure(spectrum: Spectrum) -> Figure:
    """Spectral density of the weight Hessian on a logarithmic scale."""
    fig, (axis,) = figure()
    margin = 0.05 * (spectrum.largest - spectrum.smallest)
    grid = np.linspace(spectrum.smallest - margin, spectrum.largest + margin, 600)
    axis.semilogy(grid, spectrum.density(grid, max(margin / 5, 1e-12)) + 1e-12, color=COLOURS[0])
    axis.set(xlabel="eigenvalue of ∂²L/∂w²", ylabel="density", ylim=(1e-6, None))
    axis.set_title(f"largest {spectrum.largest:.3g}, smallest {spectrum.smallest:.3g}", fontsize=12)
    return fig
