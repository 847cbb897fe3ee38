"""Webhook bodies saved from other projects' test suites: each parses, and no message or status is lost."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dragoman.channels.whatsapp.inbound import InboundItem, OtherItem, StatusItem, parse
from dragoman.domain.content import Unsupported, preview

SAVED = Path(__file__).resolve().parents[3] / "shared" / "data" / "whatsapp" / "webhooks"
BODIES = sorted(SAVED.glob("*.json"))

pytestmark = pytest.mark.skipif(not BODIES, reason="the saved webhook bodies are not beside this checkout")


def objects(body: bytes, field: str, key: str) -> list[dict[str, Any]]:
    return [
        found
        for entry in json.loads(body)["entry"]
        for change in entry["changes"]
        if change["field"] == field
        for found in change["value"].get(key, [])
    ]


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_every_message_and_status_becomes_an_item(path: Path) -> None:
    body = path.read_bytes()
    items = parse(body).items
    assert items
    inbound = [item for item in items if isinstance(item, InboundItem)]
    statuses = [item for item in items if isinstance(item, StatusItem)]
    assert [item.raw for item in inbound if not item.from_us] == objects(body, "messages", "messages")
    assert [item.raw for item in statuses] == objects(body, "messages", "statuses")
    echoes = objects(body, "smb_message_echoes", "message_echoes")
    assert [item.raw for item in inbound if item.from_us] == echoes
    for message in inbound:
        assert message.sender.known
        assert message.channel_at is not None
        assert preview(message.content)
    for status in statuses:
        assert status.channel_at is not None
        assert status.recipient.known
    for item in items:
        assert not isinstance(item, OtherItem) or item.reason


def test_only_what_cannot_be_shown_is_unsupported() -> None:
    shown = Counter(
        isinstance(item.content, Unsupported)
        for path in BODIES
        for item in parse(path.read_bytes()).items
        if isinstance(item, InboundItem)
    )
    kinds = {
        item.content.channel_type
        for path in BODIES
        for item in parse(path.read_bytes()).items
        if isinstance(item, InboundItem) and isinstance(item.content, Unsupported)
    }
    assert kinds == {"interactive", "location", "unknown", "unsupported"}
    assert shown[False] > 5 * shown[True]
