"""Damaged benchmark tables, and tables with numbers that cannot be accuracies."""

import gzip

import pytest

from jdarts.benchmarks import load_table
from jdarts.errors import UserError

ARCH = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|avg_pool_3x3~2|"


@pytest.mark.parametrize(
    ("accuracy", "parameters", "message"),
    [
        ("nan", "7", "line 2: c10_test_200 is nan; it must be a percentage"),
        ("-5", "7", "line 2: c10_test_200 is -5"),
        ("200", "7", "line 2: c10_test_200 is 200"),
        ("inf", "7", "c10_test_200 is inf"),
        ("90", "-1", "params_c10 is -1; it must be a finite number of at least 0"),
        ("90", "nan", "params_c10 is nan"),
    ],
)
def test_numbers_that_cannot_be_are_told_with_their_line(tmp_path, accuracy, parameters, message):
    (tmp_path / "t.csv").write_text(f"arch,c10_test_200,params_c10\n{ARCH},{accuracy},{parameters}\n")
    with pytest.raises(UserError, match=message):
        load_table(tmp_path / "t.csv")


def test_whatever_byte_of_an_archive_is_wrong_it_is_one_line_or_read(tmp_path):
    content = gzip.compress(f"arch,c10_test_200\n{ARCH},90\n".encode())
    refused = 0
    for at in range(len(content)):
        (tmp_path / "t.csv.gz").write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        try:
            load_table(tmp_path / "t.csv.gz")
        except UserError as error:
            refused += 1
            assert "t.csv" in str(error) and "\n" not in str(error)
    assert refused > len(content) / 2
