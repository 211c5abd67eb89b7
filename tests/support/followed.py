"""The tables of `--log csv` beside the records that they follow."""

import csv
import json
from pathlib import Path


def check_tables(run: Path, *, series: int) -> None:
    """Assert that `run` has records in `series` files, and that its tables hold every one of them once, in order."""
    files = [file for name in ("metrics", "genotypes", "trials") for file in sorted(run.rglob(f"{name}.jsonl"))]
    assert len(files) == series, files
    for file in files:
        records = [json.loads(line) for line in file.read_text().splitlines()]
        table = "-".join([*file.relative_to(run).parent.parts, file.stem])
        with open(run / "csv" / f"{table}.csv", newline="") as opened:
            rows = list(csv.DictReader(opened))
        axis = "number" if file.stem == "trials" else "epoch"
        assert records and [int(row[axis]) for row in rows] == [record[axis] for record in records]
        numbers = {
            name
            for name, value in records[0].items()
            if name not in (axis, "step") and isinstance(value, float | int) and all(name in each for each in records)
        }
        assert numbers or file.stem == "genotypes"
        for name in numbers:
            assert [float(row[name]) for row in rows] == [float(record[name]) for record in records]
