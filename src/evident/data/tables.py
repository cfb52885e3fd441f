"""Tables from elsewhere: comma, semicolon or tab, any Unicode encoding, with or without a byte-order mark."""

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import Path

from evident.errors import UserError

# Longer marks first: that of UTF-32 starts with that of UTF-16.
MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}
DELIMITERS = (",", ";", "\t")


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding that its byte-order mark names; else raise `UserError`."""
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not text in UTF-8 (byte {error.start} is {error.object[error.start]:#04x}); save it as UTF-8"
        ) from error


def read_rows(path: Path, columns: Sequence[str], numbers: Sequence[str] = ()) -> dict[int, dict[str, str]]:
    """Return the rows, by line, of a table whose first line names its columns, with at least `columns`.

    The delimiter is the one with which the first line has all columns. Names of columns and values are stripped of
    spaces; empty lines are left out. Raises `UserError`, with the number of the line, for a missing column, a row of
    another length, or a value of `numbers` that is not a finite number.
    """
    text = read_text(path)
    head = text.split("\n", 1)[0]
    named = {mark: [name.strip() for name in next(csv.reader([head], delimiter=mark), [])] for mark in DELIMITERS}
    delimiter = next((mark for mark, names in named.items() if set(columns) <= set(names)), None)
    if delimiter is None:
        found = max(named.values(), key=lambda names: (len(set(columns) & set(names)), len(names)))
        absent = ", ".join(name for name in columns if name not in found)
        raise UserError(f"{path} has no column {absent}; its first line has {', '.join(found) or 'none'}")
    names, rows = named[delimiter], {}
    table = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        for values in table:
            line = f"{path}, line {table.line_num}"
            if table.line_num == 1 or not any(value.strip() for value in values):
                continue
            if len(values) != len(names):
                raise UserError(f"{line}: {len(values)} values for {len(names)} columns")
            row = {name: value.strip() for name, value in zip(names, values, strict=True)}
            for name in numbers:
                _check_number(row[name], f"{line}, {name}")
            rows[table.line_num] = row
    except csv.Error as error:
        raise UserError(f"{path}, line {table.line_num}: {error}") from error
    return rows


def _check_number(value: str, place: str) -> None:
    try:
        finite = abs(float(value)) < float("inf")
    except ValueError:
        finite = False
    if not finite:
        raise UserError(f"{place}: {value!r} is not a number")
