"""docs/how-to-add.md is true: the files that it names are there, and what it lists is enough."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from markupsafe import Markup

from dragoman.domain import erasure
from dragoman.domain.events import CATALOGUE, Payload, payload_json
from dragoman.ledger import read
from dragoman.web.api import resources
from dragoman.web.console import timeline, wording
from dragoman.web.console.wording import EventWords

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to-add.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:src|tests|docs|migrations|web)/[\w./-]*)`", PAGE))))
def test_what_the_page_names_is_there(name: str) -> None:
    assert (ROOT / name).exists() or (ROOT / "src" / "dragoman" / name).exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class PigeonReleased(Payload):
    """A carrier pigeon left with a message."""

    type: ClassVar[str] = "pigeon.released"
    label: ClassVar[str] = "Pigeon released"
    ring: str


def test_an_audit_event_needs_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The class in the catalogue and its line in the wording: pages, API, evidence and erasure know it then."""
    monkeypatch.setitem(CATALOGUE, PigeonReleased.type, PigeonReleased)
    words = EventWords(
        icon="send",
        title=lambda _: Markup("Pigeon released"),
        detail=lambda facts: Markup("Ring {}").format(facts["ring"]),
    )
    monkeypatch.setitem(wording.EVENTS, PigeonReleased.type, words)
    row: Any = {
        "position": 1, "at": datetime(2026, 11, 2, 12, 0, tzinfo=UTC), "type": PigeonReleased.type,
        "schema_version": 1, "actor_kind": "system", "actor_name": "Dragoman", "dispatch_id": None,
        "trace_id": None, "payload": payload_json(PigeonReleased(ring="AT-7")), "seal": "00",
    }  # fmt: skip
    event = read.event_of(row)
    assert event.label == "Pigeon released"
    (entry,) = timeline.entries_of([event], frozenset())
    assert (entry.title, entry.detail) == ("Pigeon released", "Ring AT-7")
    assert resources.timeline_event(event).label == "Pigeon released"
    assert erasure.left_of(PigeonReleased.type, {"ring": "AT-7"}) == {"ring": "AT-7"}
