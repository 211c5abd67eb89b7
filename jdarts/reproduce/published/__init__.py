"""Published results as tables of numbers, each with its source.

A number that is recalled and was not checked against its paper is marked: a `?` in the texts of the tables, and
`Number.recalled` in Python. Marked numbers are for orientation; nothing is judged by them.
"""

from jdarts.errors import unknown
from jdarts.reproduce.published import cells, imagenet, nasbench201, other, robust, single_darts
from jdarts.reproduce.published.table import Number, PublishedRow, PublishedTable

__all__ = ["TABLES", "Number", "PublishedRow", "PublishedTable", "published"]

TABLES: dict[str, PublishedTable] = {
    table.name: table for group in (cells, imagenet, nasbench201, other, robust, single_darts) for table in group.TABLES
}
"""All tables by name."""


def published(name: str) -> PublishedTable:
    """The table of that name; raises `UserError` if there is none."""
    if name not in TABLES:
        raise unknown("published table", name, TABLES)
    return TABLES[name]
