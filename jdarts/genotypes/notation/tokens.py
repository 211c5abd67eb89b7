"""Tokens of DARTS text and arch strings, and errors that name line and column."""

import re
from typing import NamedTuple, NoReturn

from jdarts.errors import UserError, unknown
from jdarts.genotypes.genotype import OPS, excerpt
from jdarts.ops import user_ops

LARGEST = 999  # node index: far above every published cell, far below what could exhaust memory

_BLANK = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"), " ")  # byte order mark, zero-width space, soft hyphen
_QUOTES = dict.fromkeys(map(ord, "‘’‚‛′"), "'") | dict.fromkeys(map(ord, "“”„‟″"), '"')
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|\\\n)+|\#[^\n]*)
      | (?P<string>[bBrRuU]{0,2}(?:'[^'"\\\n]*'|"[^'"\\\n]*"))
      | (?P<number>[0-9]+)
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<punctuation>[()\[\],=|~+*])""",
    re.VERBOSE,
)

# Calls around a value in the output of Python, NumPy, PyTorch and JAX. They are read as the value itself.
_MODULE = r"(?:(?:np|numpy|jnp|torch|builtins)\s*\.\s*)?"
_LISTS = re.compile(_MODULE + r"(?:list|tuple|array|asarray|Array|tensor)\s*\(")
_NUMBERS = re.compile(_MODULE + r"(?:int_?|u?int(?:8|16|32|64)|intp|array|asarray|Array|tensor)\s*\(")
_STRINGS = re.compile(_MODULE + r"str_?\s*\(")
_RANGE = re.compile(_MODULE + r"a?range\s*\(")
_CALL = re.compile(r"[\w.\s]{0,40}\(")
_MOST_CALLS = 4  # around one value
_OPTION = re.compile(r"""(?:dtype|device|weak_type)\s*=\s*(?:'[^'\n]{0,40}'|"[^"\n]{0,40}"|[\w.]{1,40})""")


def cleaned(text: str) -> str:
    """`text` with `\\n` at line ends, ASCII quotes, and blanks instead of invisible characters and colour codes.

    Line and column numbers do not change.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_BLANK | _QUOTES)
    return _COLOURS.sub(lambda match: " " * len(match.group()), text)


class Token(NamedTuple):
    """A token and where it starts; `kind` is string, number, name, punctuation, other or end."""

    kind: str
    text: str
    start: int


class Bracket(NamedTuple):
    """An open bracket: its two marks, the number of calls around it, such as `list(`, and the start of the first."""

    opened: str
    close: str
    calls: int
    start: int


class Reader:
    """The tokens of a text from `start` on, one at a time; `token` is the next one."""

    def __init__(self, text: str, start: int = 0):
        self.text = text
        self.token = self._read(start)

    def _read(self, start: int) -> Token:
        while match := _TOKEN.match(self.text, start):
            if match.lastgroup != "space":
                return Token(str(match.lastgroup), match.group(), start)
            start = match.end()
        return Token("other" if start < len(self.text) else "end", self.text[start : start + 1], start)

    def take(self) -> Token:
        """The next token, which is consumed."""
        token = self.token
        self.token = self._read(token.start + len(token.text))
        return token

    def at(self, *texts: str) -> bool:
        """True if the next token is one of these punctuation marks."""
        return self.token.kind == "punctuation" and self.token.text in texts

    def at_call(self) -> bool:
        """True if the next tokens are a name and an opening parenthesis, as in `list(`."""
        return self.token.kind == "name" and _CALL.match(self.text, self.token.start) is not None

    def punctuation(self, *texts: str, expected: str = "") -> Token:
        """Consumes one of these punctuation marks."""
        if not self.at(*texts):
            self.unexpected(expected or " or ".join(repr(text) for text in texts))
        return self.take()

    def comma_or(self, close: str) -> None:
        """Consumes the comma after an element, unless `close` follows."""
        if not self.at(close):
            self.punctuation(",", close)

    def closes(self, close: str) -> bool:
        """Consumes a comma, if there is one; True if `close` follows."""
        if self.at(","):
            self.take()
        return self.at(close)

    def open(self, expected: str) -> Bracket:
        """Consumes `(` or `[`, with the calls around it: `list([`, `np.array([`."""
        start, calls = self.token.start, self._calls(_LISTS)
        opened = self.punctuation("(", "[", expected=expected).text
        return Bracket(opened, ")" if opened == "(" else "]", calls, start)

    def close(self, bracket: Bracket, expected: str = "") -> None:
        """Consumes the closing marks of `bracket` and of the calls around it."""
        self.punctuation(bracket.close, expected=expected)
        self._end_calls(bracket.calls)

    def number(self, expected: str) -> tuple[int, int]:
        """A number and its position in the text; also `np.int64(3)` and `'3'`."""
        calls, token = self._calls(_NUMBERS), self.token
        digits = token.text.strip("'\"") if token.kind == "string" else token.text
        if token.kind not in ("number", "string") or not (digits.isascii() and digits.isdigit()):
            self.unexpected(expected)
        if len(digits) > 3:
            self.unexpected(f"{expected}, at most {LARGEST}")
        self.take()
        self._end_calls(calls)
        return int(digits), token.start

    def string(self, expected: str) -> tuple[str, int]:
        """The content of a string and its position in the text; also `np.str_('none')`."""
        calls, token = self._calls(_STRINGS), self.token
        if token.kind != "string":
            self.unexpected(expected)
        self.take()
        self._end_calls(calls)
        return token.text.lstrip("bBrRuU")[1:-1], token.start

    def range(self) -> list[tuple[int, int]] | None:
        """The numbers of `range(first, end)`, each with the position of the range; None if no range follows."""
        start, calls = self.token.start, self._calls(_LISTS)
        match = _RANGE.match(self.text, self.token.start)
        if match is None:
            self.token = self._read(start)
            return None
        self.token = self._read(match.end())
        bounds = [self.number("a number")]
        while self.at(",") and not self.closes(")") and len(bounds) < 3:
            bounds.append(self.number("a number"))
        self.punctuation(")")
        self._end_calls(calls)
        if len(bounds) == 3 and bounds[2][0] == 0:
            self.fail(bounds[2][1], "found 0, expected a step of a range, at least 1")
        return [(node, start) for node in range(*(bound for bound, _ in bounds))]

    def _calls(self, pattern: re.Pattern[str]) -> int:
        count = 0
        while count < _MOST_CALLS and self.token.kind == "name":
            match = pattern.match(self.text, self.token.start)
            if match is None:
                break
            self.token = self._read(match.end())
            count += 1
        return count

    def _end_calls(self, count: int) -> None:
        for _ in range(count):
            while not self.closes(")") and (option := _OPTION.match(self.text, self.token.start)):
                self.token = self._read(option.end())
            self.punctuation(")")

    def op(self, name: str, start: int, choices: tuple[str, ...] | None = None) -> str:
        """`name` if it is an op; otherwise raises `UserError` with the position `start`."""
        choices = choices or (*OPS, *user_ops.names())
        if name not in choices:
            hint = "; ops of your own: --space FILE.py" if choices[: len(OPS)] == OPS else ""
            self.fail(start, f"{unknown('op', name[:60], choices)}{hint}")
        return name

    def unexpected(self, expected: str) -> NoReturn:
        """Raises `UserError`: the next token is not what is expected."""
        token = self.token
        found = "the end of the text" if token.kind == "end" else excerpt(token.text)
        self.fail(token.start, f"found {found}, expected {expected}")

    def fail(self, start: int, message: str) -> NoReturn:
        """Raises `UserError` with the line and column of the character at `start`."""
        line = self.text.count("\n", 0, start) + 1
        column = start - self.text.rfind("\n", 0, start)
        raise UserError(f"genotype, line {line}, column {column}: {message}")
