"""What is left of an audit event once the contact that it tells of was erased.

Ids of ours, names of the catalogues, numbers and times stay: they say what the dispatcher did. What may quote somebody
goes: free text, parameters, results, the channel's ids (which hold a phone number), digests of contents. What this page
does not name goes too, so that a field that somebody forgets here is lost rather than kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dragoman.domain import content
from dragoman.domain.events import CATALOGUE

NAME = "Erased contact"
"""What the contact is called from then on."""

ERASED = "[erased]"
"""What stands for a text."""

CONTENT: Mapping[str, Any] = content.to_json(content.Erased())
"""What stands for a message's content; its digest takes the place of the one that the message's event had."""

DIGEST = content.digest(content.Erased())

GOES: Mapping[str, frozenset[str]] = {
    "message.echoed": frozenset({"content_digest", "channel_message_id"}),
    "message.received": frozenset({"content_digest", "channel_message_id"}),
    "message.revised": frozenset({"by"}),
    "contact.resolved": frozenset({"business_partner"}),
    "session.busy": frozenset({"reason"}),
    "classifier.failed": frozenset({"message"}),
    "intent.assigned": frozenset({"detail"}),
    "intent.unclear": frozenset({"reason"}),
    "code.reported": frozenset({"channel_message_id"}),
    "skill.invoked": frozenset({"parameters"}),
    "skill.succeeded": frozenset({"result"}),
    "skill.failed": frozenset({"message"}),
    "flow.step_failed": frozenset({"reason", "collected"}),
    "state.changed": frozenset({"reason"}),
    "outcome.assigned": frozenset({"reason"}),
    "handoff.requested": frozenset({"reason", "collected"}),
    "handoff.claimed": frozenset({"reason"}),
    "handoff.unassigned": frozenset({"reason"}),
    "handoff.released": frozenset({"reason"}),
    "handoff.ended": frozenset({"reason"}),
    "note.added": frozenset({"content_digest"}),
    "message.sent": frozenset({"content_digest"}),
    "message.status": frozenset({"channel_message_id", "reason"}),
    "outbox.changed": frozenset({"reason"}),
    "dispatch.orphaned": frozenset({"reason", "late_result"}),
    "session.resolved": frozenset({"reason"}),
    "hold.put": frozenset({"reason"}),
    "hold.lifted": frozenset({"reason"}),
}
"""What goes of each type of event; of those that are not named, nothing does."""


def left_of(kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a payload; equal to it where nothing of it goes. Done twice it changes nothing more."""
    event = CATALOGUE.get(kind)
    known = frozenset[str]() if event is None else event.__dataclass_fields__.keys() - GOES.get(kind, frozenset())
    return {name: value if name in known else _blank(name, value) for name, value in payload.items()}


def _blank(name: str, value: Any) -> Any:
    if name == "content_digest":
        return DIGEST
    if isinstance(value, Mapping):
        return {"erased": True} if value else {}
    if isinstance(value, list):
        return []
    # That there was nothing stays as it is.
    return ERASED if value not in {None, ""} else value


_SENDERS = frozenset({"from", "from_user_id", "wa_id", "user_id", "recipient_id", "recipient_user_id"})
"""Where the channel says who an item of a delivery is from or about."""


def led_to(document: Any, known: Collection[str]) -> frozenset[str]:
    """*known*, and what else leads to the same person in a delivery (JSON), by the parts that :func:`scrubbed` takes.

    The name of who wrote stands in a part of its own, with a number that may be somebody else's by now.
    """
    found: set[str] = set()
    for part in _parts(document):
        if _is_about(part, known):
            # What the business itself wrote is "from" the business.
            names = {"id", *_SENDERS} - ({"from"} if "to" in part else set())
            found |= {_bare(value) for name, value in part.items() if name in names and isinstance(value, str)}
    return frozenset(known) | found


def scrubbed(document: Any, known: Collection[str]) -> Any:
    """A delivery (JSON) without the parts that are from or about somebody: those with one of *known* as a value.

    *known* are ids of theirs and of their messages. What stands in a list keeps its place, for that is on record.
    """
    if isinstance(document, list):
        return [scrubbed(part, known) for part in document]
    if not isinstance(document, dict):
        return document
    if _is_about(document, known):
        return {"erased": True}
    return {name: scrubbed(value, known) for name, value in document.items()}


def _parts(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        yield node
    for part in node if isinstance(node, list) else node.values() if isinstance(node, dict) else ():
        yield from _parts(part)


def _is_about(part: Mapping[str, Any], known: Collection[str]) -> bool:
    return any(isinstance(value, str) and _bare(value) in known for value in part.values())


def _bare(value: str) -> str:
    return value.removeprefix("+")
