"""The folder of the real data sets, beside the repository; tests that need one skip where it is absent."""

from pathlib import Path

REAL_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
