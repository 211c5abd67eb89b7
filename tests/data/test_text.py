"""Text: files, vocabulary, mistakes."""

import gzip
from pathlib import Path

import pytest
from support.real_data import REAL_DATA

from jdarts.config import DataConfig
from jdarts.data import load
from jdarts.data.text import PUBLISHED, load_text
from jdarts.errors import DataWarning, UserError

TEXTS = {"train": "b a <unk>\n\na c\n", "valid": "a z\n", "test": "c b"}


def written(folder: Path, names: str = "{}.txt", **changes: str | bytes) -> Path:
    for split, text in {**TEXTS, **changes}.items():
        content = text if isinstance(text, bytes) else text.encode()
        (folder / names.format(split)).write_bytes(gzip.compress(content) if names.endswith(".gz") else content)
    return folder


def loaded(folder: Path, source: str = "text"):
    return load_text(DataConfig(source=source, path=str(folder)))


@pytest.mark.parametrize("names", ["{}.txt", "{}.txt.gz"])
def test_words_are_numbered_as_they_occur_and_every_line_ends_in_eos(tmp_path, names):
    data = loaded(written(tmp_path, names))
    assert data.vocabulary == ("b", "a", "<unk>", "<eos>", "c")
    assert data.train.tolist() == [0, 1, 2, 3, 3, 1, 4, 3], "the empty line is one <eos>"
    assert data.valid.tolist() == [1, 2, 3], "an unknown word"
    assert data.test.tolist() == [4, 0, 3], "a last line without a newline"


def test_windows_lines_and_a_byte_order_mark_change_nothing(tmp_path):
    other = loaded(written(tmp_path, train=b"\xef\xbb\xbf" + TEXTS["train"].replace("\n", "\r\n").encode()))
    assert other.vocabulary == ("b", "a", "<unk>", "<eos>", "c") and len(other.train) == 8


@pytest.mark.parametrize("source, names", [("ptb", "ptb.{}.txt"), ("wikitext2", "wiki.{}.tokens.gz")])
def test_another_size_than_the_published_one_is_reported(tmp_path, source, names):
    with pytest.warns(DataWarning, match="8 / 3 / 3 words and a vocabulary of 5, the published"):
        loaded(written(tmp_path, names), source)


BAD = {
    "an unknown word": ({"train": "a b\n"}, "valid.txt has the word 'z', which the training text does not have"),
    "no words": ({"test": "\n \n"}, "test.txt has no words"),
    "Latin-1": ({"valid": "é\n".encode("latin-1")}, "valid.txt is not in UTF-8 (byte 0xe9)"),
    "UTF-16": ({"valid": "ab\n".encode("utf-16-le")}, "NUL characters"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_line(tmp_path, case):
    changes, expected = BAD[case]
    with pytest.raises(UserError) as error:
        loaded(written(tmp_path, **changes))
    assert expected in str(error.value) and "\n" not in str(error.value)


def test_bad_paths_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"data.path is ''; data.source ptb needs a folder"):
        load_text(DataConfig(source="ptb"))
    with pytest.raises(UserError, match=r"needs a folder with ptb.train.txt, ptb.valid.txt"):
        loaded(tmp_path / "no", "ptb")
    with pytest.raises(UserError, match=r"has no file wiki.train.tokens"):
        loaded(tmp_path, "wikitext2")
    written(tmp_path, "{}.txt.gz")
    (tmp_path / "valid.txt.gz").write_bytes((tmp_path / "valid.txt.gz").read_bytes()[:-9])
    with pytest.raises(UserError, match=r"valid.txt.gz cannot be read"):
        loaded(tmp_path)
    with pytest.raises(UserError, match="'text', a text; it trains recurrent cells"):
        load(DataConfig(source="text", path=str(tmp_path)))


@pytest.mark.parametrize("source, folder", [("ptb", "ptb"), ("wikitext2", "wikitext2")])
def test_the_published_texts_have_the_published_sizes(source, folder):
    path = REAL_DATA / folder
    if not path.is_dir():
        pytest.skip("the real data sets (../shared/data) are not on this machine")
    data = loaded(path, source)
    assert (len(data.train), len(data.valid), len(data.test), len(data.vocabulary)) == PUBLISHED[source]
