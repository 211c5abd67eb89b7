"""The curves of a run: its numbers over the epochs."""

from collections.abc import Mapping

from jdarts.analysis import indicators
from jdarts.genotypes import parse_result
from jdarts.report.charts import Scales, Series, line_chart
from jdarts.report.collapse import never_moves, recurrent, unsearched, warnings
from jdarts.report.derived_cells import derived_cells
from jdarts.report.records import RunRecord, SearchRecord

_LOGARITHMIC = 20
"""The axis of times is logarithmic if the longest is more than this many times the shortest."""


_COUNTED = Scales("nodes of the derived cell", from_zero=True, whole=True)


def curves(run: RunRecord, search: SearchRecord) -> str:
    """Charts of one search of a run, and of the retraining; empty if nothing was recorded."""
    marks = warnings(run, search)

    def chart(title: str, names: Mapping[str, str], scales: Scales) -> str:
        lines = [Series(label, *search.series(name), f"s{i}", i) for i, (name, label) in enumerate(names.items())]
        return line_chart(title, lines, scales, marks=marks)

    losses = {"train_loss": "training", "val_loss": "validation"}
    accuracies = {"train_accuracy": "training", "val_accuracy": "validation"}
    perplexities = {"train_perplexity": "training", "val_perplexity": "validation"}
    charts = [
        chart("Loss", losses, Scales("cross-entropy in nats")),
        chart("Accuracy of the supernet", accuracies, Scales("accuracy", percent=True)),
        chart("Perplexity of the supernet", perplexities, Scales("perplexity")),
    ]
    if not never_moves(run):
        decided = {"relative_entropy": "entropy / ln(ops)", "margin": "best − second-best op weight"}
        lead = {"skip_dominance": "skip − best learnable op"}
        charts += [
            *([] if recurrent(run) else _of_cells(search, marks, unsearched(run))),
            chart("Identities", {"identities": "identity"}, _COUNTED),
            chart("Decidedness of the alphas", decided, Scales("mean over edges", from_zero=True)),
            chart("Lead of skip connections", lead, Scales("mean op weight")),
        ]
    rewards = {"reward": "mean reward", "baseline": "baseline"}
    charts += [
        chart("Entropy of the controller", {"controller_entropy": "entropy"}, Scales("nats", from_zero=True)),
        chart("Reward of the controller", rewards, Scales("score and entropy bonus")),
        chart("Skip connections in samples of the controller", {"skip_share": "skip"}, Scales("share", percent=True)),
        chart("Identities in samples of the controller", {"identity_share": "identity"}, Scales("share", percent=True)),
    ]
    largest = {"dominant_eigenvalue": "λ max"}
    charts += [
        chart("Largest eigenvalue of the alpha-Hessian", largest, Scales("λ max of ∂²L/∂α²", from_zero=True)),
        _spectrum(search, marks),
        _times(run, search),
        *(_retraining(name, SearchRecord(0, records, [])) for name, records in run.trainings.items()),
    ]
    shown = "".join(charts)
    return f'<div class="charts">{shown}</div>' if shown else ""


def _retraining(name: str, training: SearchRecord) -> str:
    """Accuracies of a network of images, or perplexities of a language model."""
    of_text = bool(training.series("train_perplexity")[1])
    kind, scales = ("perplexity", Scales("perplexity")) if of_text else ("accuracy", Scales("accuracy", percent=True))
    lines = [
        Series("training", *training.series(f"train_{kind}"), "s0"),
        Series("validation", *training.series(f"val_{kind}"), "s1", 1),
    ]
    return line_chart(f"Retraining of the {name} cell", lines, scales)


def _of_cells(search: SearchRecord, marks: list[tuple[int, str]], without: str) -> list[str]:
    """The charts of the derived cells of images."""
    return [_skip_connections(search, marks, without), *derived_cells(search, marks, without)]


def _skip_connections(search: SearchRecord, marks: list[tuple[int, str]], without: str) -> str:
    lines = []
    for i, (cell, label) in enumerate((("normal", "normal cell"), ("reduce", "reduction cell"))):
        counts = {}
        for record in search.genotypes:
            counted = indicators.op_counts(parse_result(record["genotype"]))
            if cell in counted and cell != without:
                counts[record["epoch"]] = counted[cell].get("skip_connect", 0)
        lines.append(Series(label, list(counts), list(counts.values()), f"s{i}", i))
    scales = Scales("edges of the derived cell", from_zero=True, whole=True)
    return line_chart("Skip connections", lines, scales, marks=marks)


def _spectrum(search: SearchRecord, marks: list[tuple[int, str]]) -> str:
    """Some ranks of the spectrum of the alpha-Hessian over the epochs."""
    rows = [(r["epoch"], r["alpha_hessian_eigenvalues"]) for r in search.metrics if r.get("alpha_hessian_eigenvalues")]
    if not rows:
        return ""
    n = len(rows[0][1])
    epochs = [epoch for epoch, _ in rows]
    lines = [
        Series(name, epochs, [values[k] for _, values in rows], f"s{i}", i)
        for i, (name, k) in enumerate({"largest": 0, "5th": 4, "20th": 19, "smallest": n - 1}.items())
        if k < n
    ]
    return line_chart(f"Eigenvalues of the {n} × {n} alpha-Hessian", lines, Scales("eigenvalue"), marks=marks)


def _times(run: RunRecord, search: SearchRecord) -> str:
    """Times of the epochs, without and of the alpha-Hessians; of all seeds if they are one program."""
    parts = run.searches if run.together else [search]
    total = dict(zip(*(SearchRecord(0, run.together, []) if run.together else search).series("seconds"), strict=True))
    hessians: dict[int, float] = {}
    for part in parts:
        for epoch, seconds in zip(*part.series("alpha_hessian_seconds"), strict=True):
            hessians[epoch] = hessians.get(epoch, 0.0) + seconds
    rest = [max(seconds - hessians.get(epoch, 0.0), 0.0) for epoch, seconds in total.items()]
    lines = [
        Series("search and validation", list(total), rest),
        Series("alpha-Hessian; the first includes its compilation", list(hessians), list(hessians.values()), "s1", 1),
    ]
    positive = [value for line in lines for value in line.y if value > 0]
    spread = bool(positive) and max(positive) > _LOGARITHMIC * min(positive)
    title = "Time of an epoch, all seeds together" if len(parts) > 1 else "Time of an epoch"
    return line_chart(title, lines, Scales("seconds", from_zero=not spread, logarithmic=spread))
