"""What is said of the record says what was checked, and never that a conversation is as it was.

A message's sender and time and the session's row are in no digest that is compared: a word that covers them would be
untrue.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dragoman
from dragoman.ledger.integrity import Stage
from dragoman.services.exports import bundle

SOURCE = Path(dragoman.__file__).parent
ROOT = Path(__file__).resolve().parents[2]

TOO_MUCH = re.compile(
    r"\b(intact|unchanged|untouched|unaltered|unmodified|untampered|tampered|tamper-proof|verified|proved|proven|proves"
    r"|genuine|authentic|complete|completely|nothing was changed|any change|is whole)\b",
    re.IGNORECASE,
)
SAID = [
    *sorted((SOURCE / "web" / "templates" / "logs").glob("*.html")),
    SOURCE / "web" / "console" / "wording.py",
    SOURCE / "cli" / "audit.py",
    *(ROOT / "docs" / name for name in ("trust.md", "reading-a-conversation.md", "backup.md", "retention.md")),
    ROOT / "README.md",
]


@pytest.mark.parametrize("path", SAID, ids=lambda path: path.name)
def test_no_sentence_says_more_than_was_checked(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [line.strip() for line in text.splitlines() if TOO_MUCH.search(line)]
    assert found == []


def test_a_bundle_says_what_is_checked_and_what_is_not() -> None:
    assert not TOO_MUCH.search(bundle.README + bundle.MASKED)
    assert "chain of audit events is unbroken" in bundle.README
    assert "Not checked: a message's sender and time" in bundle.README


def test_no_stage_of_a_session_says_more_than_was_checked() -> None:
    assert [stage for stage in Stage if TOO_MUCH.search(stage)] == []
