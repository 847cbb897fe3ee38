"""Cells: harmless in a spreadsheet, whichever delimiter it splits at, and the text comes back as it was."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dragoman.domain import storable
from dragoman.services.exports.columns import CONVERSATION, EVENT, MESSAGE, ExportColumn
from dragoman.services.exports.spreadsheet import harmless, lines, restore

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "\uff1d1",
    "\0=1",
    "'=1",
    "''+1",
)
BEGINS = re.compile(r"[\s\0]*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_spreadsheet_would_run_begins_with_an_apostrophe(text: str) -> None:
    assert harmless(text) == "'" + text.replace("\t=", "\t'=").replace("\r=", "\r'=").replace("\n=", "\n'=")
    assert restore(harmless(text)) == text


@given(st.text(st.sampled_from("ab'=+-@ \t\r\n;,|\0\uff1d\xa0"), max_size=24))
@example("x;=cmd|' /C calc'!A0")
def test_no_part_of_a_cell_is_a_formula_and_all_comes_back(text: str) -> None:
    cell = harmless(text)
    assert restore(cell) == text
    assert not BEGINS.match(cell)
    for part in re.split(r"[;\t\r\n]", cell):
        assert not re.match(r"[\s\0]*[=+\-@\uff1d]", part)


@given(st.text())
def test_any_text_comes_back(text: str) -> None:
    assert restore(harmless(text)) == text


@pytest.mark.parametrize("text", ["", "Hello", "it's fine", "a=b", "1-2", "me@example.org", "'quoted'"])
def test_harmless_text_is_left_alone(text: str) -> None:
    assert harmless(text) == text
    assert restore(text) == text


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("columns", [CONVERSATION, MESSAGE, EVENT], ids=["conversations", "messages", "events"])
def test_29_no_column_of_any_file_lets_a_formula_through(columns: Sequence[ExportColumn], hostile: str) -> None:
    """Ids too: the id of a message, and of the one that it quotes, are what another system sent."""
    told = [column for column in columns if column.kind in ("text", "id", "json")]
    row = {column.source or column.name: {"a": hostile} if column.kind == "json" else hostile for column in told}
    (cells,) = csv.reader(io.StringIO(lines(told, [row]).decode(), newline=""))
    for column, cell in zip(told, cells, strict=True):
        assert not BEGINS.match(cell), column.name
        for part in re.split(r"[;\t\r\n]", cell):
            assert not re.match(r"[\s\0]*[=+\-@\uff1d]", part), column.name
        assert restore(cell) == (storable.dump({"a": hostile}) if column.kind == "json" else hostile)
