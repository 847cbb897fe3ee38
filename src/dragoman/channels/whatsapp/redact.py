"""Takes out of a delivery what must not be stored. Names, numbers and ids that Meta gives to things stay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.channels.whatsapp import inbound
from dragoman.channels.whatsapp.wire import read_json
from dragoman.domain.redaction import RedactionRule, clean, clean_json

_ITS_OWN = frozenset(
    {
        "id", "from", "to", "type", "status", "timestamp", "mime_type", "sha256", "object", "field", "event",
        "display_phone_number", "messaging_product", "ctwa_clid", "conversation", "pricing", "biz_opaque_callback_data",
        "url", "media_url", "image_url", "video_url", "thumbnail_url", "source_url", "currency", "quantity", "payload",
    }
)  # fmt: skip

_FORM = "response_json"
"""What was filled into a form: its names are the form's."""


@reads_outside_text
def redact(body: bytes, rules: Sequence[RedactionRule]) -> tuple[bytes, Mapping[int, Counter[str]]]:
    """*body* without what *rules* find in what people wrote, and how often each found something, by item.

    The same bytes where they find nothing. *body* is one that :func:`inbound.parse` reads.
    """
    try:
        cleaned, found = clean_json(read_json(body), rules, keep=_is_its_own, nested=_FORM)
    except (ValueError, RecursionError):
        # Nothing that has items; it is kept all the same, as the text that it is.
        text, found = clean(body.decode("utf-8", "replace"), rules)
        return (text.encode(), {}) if found else (body, {})
    if not found:
        return body, {}
    items = inbound.parse(body).items
    counts = (clean_json(item.raw, rules, keep=_is_its_own, nested=_FORM)[1] for item in items)
    return json.dumps(cleaned).encode(), {place: count for place, count in enumerate(counts) if count}


def redact_messages(body: bytes, rules: Mapping[str, Sequence[RedactionRule]]) -> bytes:
    """*body* with each message cleaned by the rules that stand under its id; the same bytes where they find nothing.

    *body* is one that :func:`inbound.parse` reads, or a list of the items of one.
    """
    changed = False

    def walk(part: Any) -> Any:
        nonlocal changed
        if isinstance(part, list):
            return [walk(item) for item in part]
        if not isinstance(part, dict):
            return part
        mine = rules.get(part["id"]) if isinstance(part.get("id"), str) else None
        if mine is None:
            return {name: walk(item) for name, item in part.items()}
        cleaned, found = clean_json(part, mine, keep=_is_its_own, nested=_FORM)
        changed = changed or bool(found)
        return cleaned

    try:
        left = walk(json.loads(body))
    except RecursionError:
        # Nested deeper than can be walked: cleaned as the text that it is.
        text, found = clean(body.decode("utf-8", "replace"), [rule for of_one in rules.values() for rule in of_one])
        return text.encode() if found else body
    return json.dumps(left).encode() if changed else body


def _is_its_own(name: str) -> bool:
    """Whether a member of that name is Meta's own, such as the many numbers of sixteen digits that are ids."""
    return name in _ITS_OWN or name.endswith("_id")
