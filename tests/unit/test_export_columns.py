"""The export's schema is what docs/exports.md promises, column by column."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dragoman.services.exports.columns import CONVERSATION, EVENT, MESSAGE, OUTBOX_ENTRY, ExportColumn

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "columns"), [("exports.md", (*CONVERSATION, *MESSAGE, *EVENT)), ("outbox.md", OUTBOX_ENTRY)]
)
def test_the_documented_columns_are_the_exports(page: str, columns: tuple[ExportColumn, ...]) -> None:
    text = (DOCS / page).read_text("utf-8")
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    assert documented == [(c.name, c.kind, c.says) for c in columns]
