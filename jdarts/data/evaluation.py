"""The batches of an evaluation: every image once, in batches of one size; padded rows of the last one do not count."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from jdarts.data.dataset import Images, ImagesAndLabels
from jdarts.data.streaming import BatchShare, StreamSplit

Rows = dict[str, np.ndarray]


def evaluation_batches(
    split: Images | StreamSplit, share: BatchShare, *, size: int = 0, resize: int | None = None, threads: int = 0
) -> Iterator[Rows]:
    """The rows that one process reads of each batch: `images` `[1, B/H, …]`, `labels` and `counted` `[1, B/H]`.

    `counted` is False in the rows that pad the last batch, which repeat the last image. Streamed images are decoded as
    squares of `size` pixels (`resize` is that of `crop_resize`) by `threads` threads, one batch ahead.
    """
    mine = np.array([share.position(i)[1] for i in range(share.rows)])
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        waiting: tuple[np.ndarray, Callable[[], ImagesAndLabels]] | None = None
        for first in (*range(0, len(split), share.batch_size), None):
            begun = None
            if first is not None:
                rows = first + mine
                begun = rows < len(split), _begin(split, np.minimum(rows, len(split) - 1), pool, (size, resize))
            if waiting is not None:
                counted, read = waiting
                images, labels = read()
                yield {"images": images[None], "labels": labels[None], "counted": counted[None]}
            waiting = begun


def _begin(
    split: Images | StreamSplit, rows: np.ndarray, pool: ThreadPoolExecutor, sides: tuple[int, int | None]
) -> Callable[[], ImagesAndLabels]:
    """Begin to read these rows; the result waits for them."""
    if isinstance(split, Images):
        return lambda: (split.images[rows], split.labels[rows])
    pending = [pool.submit(split.centre, int(row), *sides) for row in rows]

    def read() -> ImagesAndLabels:
        images, labels = zip(*(future.result() for future in pending), strict=True)
        return np.stack(images), np.stack(labels)

    return read
