"""The description of the machine, stored with every measurement."""

import os
from typing import Any

from jdarts.runs import environment


def describe_machine() -> dict[str, Any]:
    """The result of `jdarts.runs.environment.describe`, and the use of huge pages by the allocator; ready for JSON."""
    huge = os.environ.get("GLIBC_TUNABLES", "") == "glibc.malloc.hugetlb=1"
    return {**environment.describe(), "huge_pages": huge}


def machine_line(machine: dict[str, Any]) -> str:
    """The machine in one line of text."""
    where = f"{machine['processors']} cores of {machine['processor']}"
    if machine["platform"] != "cpu":
        where = f"{machine['devices']} (host: {where})"
    pages = ", huge pages" if machine["huge_pages"] else ""
    return f"{where}{pages}; jax {machine['jax']}, jdarts {machine['jdarts']}, {machine['started']}"
