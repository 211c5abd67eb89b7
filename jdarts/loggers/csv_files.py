"""Records as CSV files in RUN/csv: one table for each series of records."""

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jdarts.loggers.entries import alphas, scalars, step_of


class CsvLogger:
    """Writes `metrics.csv`, `genotypes.csv`, `trials.csv`, `alphas-KIND.csv`, of a subfolder `FOLDER-metrics.csv`.

    The tables of alphas have a row for each edge. All tables are written whole after every epoch.
    """

    def __init__(self):
        self._folder = Path()
        self._tables: dict[str, list[dict[str, Any]]] = {}
        self._changed: set[str] = set()

    def begin(self, run_dir: Path, settings: Mapping[str, Any]) -> None:
        """Start with the table of the settings."""
        self._folder, self._tables, self._changed = run_dir / "csv", {}, set()
        self._folder.mkdir(exist_ok=True)
        for old in self._folder.glob("*.csv"):
            old.unlink()
        for name, value in settings.items():
            self._add("settings", {"name": name, "value": value})

    def record(self, series: str, file: str, record: Mapping[str, Any]) -> None:
        """Add the rows of a record."""
        prefix, axis = f"{series.replace('/', '-')}-" if series else "", "number" if file == "trials" else "epoch"
        row: dict[str, Any] = {axis: step_of(record), **scalars(record)}
        for text in ("genotype", "state", "architecture"):
            if isinstance(record.get(text), str):
                row[text] = record[text]
        self._add(f"{prefix}{file}", row)
        if record.get("compared"):
            return
        for kind, values in alphas(record).items():
            for edge, of_edge in enumerate(values.tolist()):
                ops = {f"op {k}": value for k, value in enumerate(of_edge)}
                self._add(f"{prefix}alphas-{kind}", {axis: step_of(record), "edge": edge, **ops})

    def flush(self) -> None:
        """Write the tables that have grown."""
        for name in sorted(self._changed):
            rows = self._tables[name]
            text = io.StringIO(newline="")
            table = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
            part = self._folder / f".{name}.csv"
            part.write_text(text.getvalue())
            os.replace(part, self._folder / f"{name}.csv")
        self._changed = set()

    def close(self) -> None:
        """Write what is left."""
        self.flush()

    def _add(self, table: str, row: dict[str, Any]) -> None:
        self._tables.setdefault(table, []).append(row)
        self._changed.add(table)
