"""The export's schema is what docs/exports.md promises, column by column."""

from __future__ import annotations

import re
from pathlib import Path

from dragoman.services.exports.columns import CONVERSATION, EVENT, MESSAGE

DOCS = Path(__file__).resolve().parents[2] / "docs" / "exports.md"


def test_the_documented_columns_are_the_exports() -> None:
    documented = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    assert documented == [(c.name, c.kind, c.says) for c in (*CONVERSATION, *MESSAGE, *EVENT)]
