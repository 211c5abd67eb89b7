"""The verdict on collapse: by hand for a few records, and without contradiction for random ones."""

import html
import random
import re

import pytest

from jdarts.analysis.monitor import findings
from jdarts.config import Experiment, SearchConfig, SpaceConfig
from jdarts.report.collapse import sentence, summary, verdict
from jdarts.report.outcomes import HEAD, cells, outcome
from jdarts.report.recommendation import recommend
from jdarts.report.records import RunRecord, SearchRecord
from jdarts.report.run_sections import verdicts

SKIP, CONV, POOL = "skip_connect", "nor_conv_3x3", "avg_pool_3x3"


def arch(skips: int, pools: int = 0) -> str:
    a, b, c, d, e, f = [SKIP] * skips + [POOL] * pools + [CONV] * (6 - skips - pools)
    return f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|"


def config(epochs: int, method: str = "darts") -> Experiment:
    return Experiment(space=SpaceConfig(name="nasbench201", cells=1), search=SearchConfig(epochs=epochs, method=method))


def search(counts, *, seed=0, found="", eigenvalues=(), planned=None) -> SearchRecord:
    """A search with `(skips, pools)` edges after each epoch, and the warnings of the collapse monitor on the way."""
    metrics, genotypes = [], []
    for epoch, (skips, pools) in enumerate(counts, start=1):
        record = {
            "epoch": epoch,
            "normal_edges": 6,
            "normal_skips": skips,
            "normal_parameter_free": skips + pools,
            "val_accuracy": 0.1 * seed,
        }
        if eigenvalues:
            record["dominant_eigenvalue"] = eigenvalues[epoch - 1]
        warned = {w["rule"] for past in metrics for w in past.get("warnings", ())}
        told = [{"rule": r, "text": t} for r, t in findings([*metrics, record], config(planned or len(counts)).search)]
        fresh = [warning for warning in told if warning["rule"] not in warned]
        metrics.append({**record, "warnings": fresh} if fresh else record)
        genotypes.append({"epoch": epoch, "genotype": arch(skips, pools), "alphas": {"cell": [[0.0] * 5] * 6}})
    return SearchRecord(seed, metrics, genotypes, found=found)


def run(*searches: SearchRecord, path, method="darts") -> RunRecord:
    return RunRecord(path, config(max([1, *(s.epochs for s in searches)]), method), list(searches))


def page(record: RunRecord) -> str:
    """Everything in a report of the run, or in a comparison, that judges it, as text."""
    return html.unescape(re.sub("<[^>]+>", " ", verdicts(record))) + " " + " ".join(cells("run", outcome(record)))


def test_verdicts_by_hand(tmp_path):
    calm = search([(1, 0), (2, 0), (3, 0)])
    assert (verdict(calm).since, verdict(calm).signs, verdict(calm).skips, verdict(calm).edges) == (None, (), 3, 6)
    assert sentence(run(calm, path=tmp_path)).startswith("No sign of collapse: 3 of 6 edges")

    ended = search([(1, 0), (5, 0), (2, 0), (4, 0), (6, 0)])
    assert (verdict(ended).since, verdict(ended).skips) == (4, 6)
    assert verdict(ended).signs[0] == "mostly skip connections in epochs 2"
    assert "since epoch 4" in sentence(run(ended, path=tmp_path))

    recovered = search([(4, 0), (5, 0), (2, 0), (6, 0), (1, 0)])
    assert verdict(recovered).since is None
    assert verdict(recovered).signs == (
        "mostly skip connections in epochs 1–2, 4",
        "too many skip connections (warning of epoch 1)",
    )
    pooled = search([(1, 0), (2, 3)])
    assert verdict(pooled).signs == ("too few edges with weights (warning of epoch 2)",)
    curved = search([(1, 0)] * 9, eigenvalues=[0.1] * 4 + [1.0] * 5)
    assert [sign.split(" (")[0] for sign in verdict(curved).signs] == ["growing curvature"]

    assert summary([verdict(s) for s in (calm, ended, recovered)]) == "1 of 3, from epoch 4"
    assert summary([verdict(s) for s in (calm, recovered)]) == "signs in 1 of 2"
    assert summary([verdict(calm)]) == "no" and summary([verdict(SearchRecord(0, [], []))]) == "–"


def test_the_result_decides_not_the_last_epoch(tmp_path):
    """A search may return an older genotype, or one that its last alphas do not derive to."""
    stopped = search([(1, 0), (2, 0), (6, 0)], found=arch(2))
    assert verdict(stopped).since is None and verdict(stopped).signs[0] == "mostly skip connections in epochs 3"
    chosen = recommend(run(stopped, path=tmp_path))
    assert chosen.epoch == 2 and chosen.genotype.to_text() == arch(2)
    pruned = search([(1, 0), (2, 0)], found=arch(6))
    assert verdict(pruned).since == 2
    assert recommend(run(pruned, path=tmp_path)).genotype.to_text() == arch(2)
    hopeless = run(search([(6, 0), (5, 0)]), path=tmp_path)
    assert any("do not use the cells of this run" in reason for reason in recommend(hopeless).reasons)


def test_alphas_that_never_move_are_not_judged(tmp_path):
    unfinished = run(search([(6, 0), (6, 0)]), path=tmp_path, method="rsps")
    assert recommend(unfinished) is None and "compares architectures after its last epoch" in page(unfinished)
    finished = run(search([(6, 0), (6, 0)], found=arch(1)), path=tmp_path, method="rsps")
    assert recommend(finished).genotype.to_text() == arch(1)
    assert "Collapse is not judged" in page(finished) and "mostly" not in page(finished)


@pytest.mark.parametrize("seed", range(40))
def test_no_page_contradicts_itself(tmp_path, seed):
    rng = random.Random(seed)
    searches = []
    for k in range(rng.choice([1, 1, 3])):
        epochs, bias = rng.randrange(1, 12), rng.choice([1, 3, 6])
        counts = [(skips := rng.randint(0, bias), rng.randint(0, 6 - skips)) for _ in range(epochs)]
        eigenvalues = [rng.choice([0.1, 0.1, 1.0]) * 1.2**e for e in range(epochs)] if rng.random() < 0.5 else ()
        found = arch(rng.randint(0, 6)) if rng.random() < 0.3 else ""
        searches.append(search(counts, seed=k, found=found, eigenvalues=eigenvalues))
    record = run(*searches, path=tmp_path)
    text = page(record)
    words = ("Collapsed: ", "Signs of collapse: ", "No sign of collapse")
    assert sum(text.count(word) for word in words) == 1, "one verdict"
    assert ("No sign of collapse" in text) == (cells("run", outcome(record))[HEAD.index("collapsed")] == "no")
    if "No sign of collapse" in text:
        accused = ("is collapsing", "carry no weights", "grew by", "before the collapse", "mostly skip", ", from epoch")
        assert not [word for word in accused if word in text]
