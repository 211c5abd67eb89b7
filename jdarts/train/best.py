"""The network of the best epoch by validation, kept in the folder `best` of a run beside that of the last epoch."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jdarts.runs.folder import RunFolder

BEST = "best"


def is_best(value: float, earlier: Sequence[Any], *, falls: bool) -> bool:
    """True for a finite score that is better than all finite `earlier` ones; ties go to the earlier epoch."""
    scores = [score for score in earlier if isinstance(score, int | float) and score == score]
    sign = -1 if falls else 1
    return value == value and all(sign * value > sign * score for score in scores)


def keep_best(
    run: RunFolder, record: Mapping[str, Any], score: str, *, falls: bool, save: Callable[[RunFolder], None]
) -> None:
    """Save the network of an epoch if its score is the best so far.

    The earlier scores are those in `metrics.jsonl`, which a resumed run has cut to its checkpoint; an epoch that is
    computed again therefore saves the same network again.

    Args:
      run: the folder of the training.
      record: of the epoch, not written yet.
      score: the entry of the record that is compared.
      falls: a lower score is better.
      save: writes the network into a folder.
    """
    if score not in record:
        return
    earlier = [each.get(score) for each in run.records("metrics")]
    if is_best(record[score], earlier, falls=falls):
        save(run.subfolder(BEST))
