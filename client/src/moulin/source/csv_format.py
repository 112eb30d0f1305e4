"""How delimited text is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from moulin import _argument as argument
from moulin import _options as options
from moulin.errors import SpecError
from moulin.source.words import Dialect, Encoding, LineEnding, RaggedRows, words

_U32 = 2**32 - 1


def _texts(name: str, value: object) -> tuple[str, ...]:
    return argument.texts(name, value, blank=True)


def _one_of(literal: object) -> Callable[[str, object], str]:
    return lambda name, value: argument.choice(name, value, words(literal))


# How each option is checked; what comes back is its value.
_CHECKS: dict[str, Callable[[str, object], object]] = {
    **dict.fromkeys(("delimiter", "comment"), argument.characters),
    **dict.fromkeys(("quote", "escape", "decimal_separator", "thousands_separator"), argument.one_character),
    **dict.fromkeys(("quoting", "doubled_quotes", "header", "trailing_delimiter", "trim"), argument.flag),
    **dict.fromkeys(("skip_lines", "skip_rows", "skip_footer_rows"), argument.count),
    **dict.fromkeys(("date_format", "time_format", "timestamp_format", "timezone"), argument.text),
    **dict.fromkeys(("null_values", "true_values", "false_values", "column_names"), _texts),
    "header_lines": lambda name, value: argument.count(name, value, _U32, least=1),
    "encoding": _one_of(Encoding),
    "line_ending": _one_of(LineEnding),
    "ragged_rows": _one_of(RaggedRows),
    "dialect": _one_of(Dialect),
}

# Those of which no two may be the same character.
_MARKS = frozenset({"delimiter", "quote", "quoting", "escape", "comment", "dialect"})


@dataclass(frozen=True, kw_only=True)  # without slots: `options.of`
class CsvFormat:
    """RFC 4180 and its relatives. `moulin.csv` says what every option means.

    None is what was not said: the default, or with `dialect="auto"` what a sample shows.
    """

    delimiter: str | None = None
    quote: str | None = None
    quoting: bool = True
    escape: str | None = None
    doubled_quotes: bool = True
    header: bool = True
    header_lines: int = 1
    column_names: tuple[str, ...] = ()
    null_values: tuple[str, ...] = ()
    true_values: tuple[str, ...] = ()
    false_values: tuple[str, ...] = ()
    skip_lines: int = 0
    skip_rows: int = 0
    skip_footer_rows: int = 0
    comment: str | None = None
    decimal_separator: str = "."
    thousands_separator: str | None = None
    date_format: str | None = None
    time_format: str | None = None
    timestamp_format: str | None = None
    timezone: str | None = None
    encoding: Encoding = "auto"
    line_ending: LineEnding = "auto"
    trailing_delimiter: bool = False
    ragged_rows: RaggedRows = "reject"
    trim: bool = False
    dialect: Dialect = "given"

    def __post_init__(self) -> None:
        said = options.said(self)
        if not said:
            return
        for name, value in said.items():
            object.__setattr__(self, name, _CHECKS[name](f"csv {name}", value))
        if self.column_names:
            argument.distinct("csv column_names", self.column_names)
        # DAG files make many of these; the defaults can be told apart.
        if not _MARKS.isdisjoint(said):
            self._check_marks()
        if self.thousands_separator is not None and self.thousands_separator == self.decimal_separator:
            expected = "another character than the decimal_separator"
            raise SpecError.about("csv thousands_separator", self.thousands_separator, expected)
        if self.quoting and not self.doubled_quotes and self.escape is None and self.dialect == "given":
            expected = "True, or an escape for the quotes that stand in fields"
            raise SpecError.about("csv doubled_quotes", self.doubled_quotes, expected)

    def _check_marks(self) -> None:
        """Delimiter, quote, escape and comment can be told apart."""
        # What was not said may be found in a sample, and then it is not the default.
        comma, double_quote = (None, None) if self.dialect == "auto" else (",", '"')
        said = {
            "delimiter": comma if self.delimiter is None else self.delimiter,
            "quote": (double_quote if self.quote is None else self.quote) if self.quoting else None,
            # An escape that is the quote says that quotes are doubled.
            "escape": None if self.escape == (self.quote or double_quote) else self.escape,
        }
        marks = {name: mark for name, mark in said.items() if mark is not None and not argument.is_template(mark)}
        taken: dict[str, str] = {}
        for name, mark in marks.items():
            for character in mark if name == "delimiter" else (mark,):
                if taken.get(character, name) != name:
                    expected = f"another character than the {taken[character]}"
                    raise SpecError.about(f"csv {name}", mark, expected)
                taken[character] = name
        if self.comment is None or argument.is_template(self.comment):
            return
        if marks.get("delimiter", "").startswith(self.comment):
            raise SpecError.about("csv comment", self.comment, "another text than the start of the delimiter")
        if self.comment[0] == marks.get("quote"):
            raise SpecError.about("csv comment", self.comment, "a text that does not start with the quote")

    def to_dict(self) -> dict[str, Any]:
        """The options that are not the default."""
        return options.to_dict(self)
