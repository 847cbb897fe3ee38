"""The audit timeline as the page shows it: grouped by dispatch, told in words, with the states' ribbon."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from markupsafe import Markup

from dragoman.domain.content import preview
from dragoman.domain.nouns import Sender
from dragoman.domain.states import TERMINAL, State
from dragoman.ledger.read import Event, Message
from dragoman.web.console import wording
from dragoman.web.console.wording import Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A classifier's guess; ``width`` is its bar's, in percent, ``enough`` says that it reached the threshold."""

    intent: str
    confidence: float
    width: str
    enough: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event in words.

    ``message`` is the id of the transcript element that it speaks of, empty for none. ``payload`` is the JSON as
    it was stored, indented.
    """

    event: Event
    icon: str
    hue: str
    title: Markup
    detail: Markup
    about: str
    actor: str
    payload: str
    message: str = ""
    old_state: str = ""
    new_state: str = ""
    outcome: str = ""
    candidates: tuple[Candidate, ...] = ()
    threshold: str = ""
    values: tuple[tuple[str, str], ...] = ()

    @property
    def anchor(self) -> str:
        """The element's id."""
        return f"e{self.event.position}"


@dataclass(slots=True, kw_only=True)
class Group:
    """Events that stand together because one message caused them, or none did."""

    anchor: str
    title: str
    message: str
    entries: list[Entry] = field(default_factory=list)

    @property
    def about(self) -> str:
        """Which filters keep something of the group."""
        return " ".join(sorted({word for entry in self.entries for word in entry.about.split()}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the ribbon: a state and where it stands, in percent of the session's length."""

    state: str
    start: str
    width: str
    share: float


def entries_of(events: Sequence[Event], known_messages: frozenset[str]) -> list[Entry]:
    """Every event in words; a message that is not in *known_messages* is not pointed at."""
    return [_entry(event, known_messages) for event in events]


def _entry(event: Event, known_messages: frozenset[str]) -> Entry:
    words = wording.EVENTS.get(event.type, wording.UNKNOWN)
    facts = Facts(event.payload)
    failed = event.type == "message.status" and facts["status"] == "failed"
    named = wording.ACTORS.get(event.actor_kind, str(event.actor_kind))
    message = facts.get("message_id")
    candidates, threshold = _candidates(facts) if event.type == "classifier.ran" else ((), "")
    return Entry(
        event=event,
        icon="circle-alert" if failed else words.icon,
        hue="red" if failed else words.hue,
        title=words.title(facts) or Markup("{}").format(event.label),
        detail=words.detail(facts),
        about="error" if failed else words.about,
        actor=f"{named} {event.actor_name}".strip(),
        payload=json.dumps(event.payload, indent=2, ensure_ascii=False, default=str),
        message=f"m-{message}" if str(message) in known_messages else "",
        old_state=_known(facts.get("old"), wording.STATES) if event.type == "state.changed" else "",
        new_state=_new_state(event, facts),
        outcome=_known(facts.get("outcome"), wording.OUTCOMES) if event.type == "outcome.assigned" else "",
        candidates=candidates,
        threshold=threshold,
        values=_values(event, facts),
    )


def _known(value: object, names: Mapping[str, object]) -> str:
    return value if isinstance(value, str) and value in names else ""


def _new_state(event: Event, facts: Facts) -> str:
    if event.type == "session.opened":
        return State.OPEN
    return _known(facts.get("new"), wording.STATES) if event.type == "state.changed" else ""


def _candidates(facts: Facts) -> tuple[tuple[Candidate, ...], str]:
    threshold = facts.get("threshold")
    needed = float(threshold) if isinstance(threshold, int | float) else 0.0
    found = []
    guesses = facts.get("candidates")
    for guess in guesses if isinstance(guesses, list) else ():
        confidence = guess.get("confidence") if isinstance(guess, dict) else None
        if isinstance(confidence, int | float):
            found.append(
                Candidate(
                    intent=str(guess.get("intent", "–")),
                    confidence=float(confidence),
                    width=_share(float(confidence)),
                    enough=float(confidence) >= needed,
                )
            )
    return tuple(found[:5]), _share(needed)


def _values(event: Event, facts: Facts) -> tuple[tuple[str, str], ...]:
    name = {"skill.invoked": "parameters", "skill.succeeded": "result"}.get(event.type)
    held = facts.get(name) if name else None
    if not isinstance(held, dict):
        return ()
    return tuple((str(key), _written(value)) for key, value in list(held.items())[:12])


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else f"{text[:159]}…"


def _share(part: float) -> str:
    return f"{min(max(part, 0.0), 1.0) * 100:.2f}%"


def grouped(entries: Sequence[Entry], messages: Sequence[Message]) -> list[Group]:
    """Runs of events of one dispatch, in order, under the message that each run handles."""
    causes = {
        message.dispatch_id: message
        for message in reversed(messages)
        if message.sender is Sender.CONTACT and message.dispatch_id is not None
    }
    groups: list[Group] = []
    seen: set[UUID] = set()
    current: object = object()
    for entry in entries:
        dispatch = entry.event.dispatch_id
        if dispatch != current:
            groups.append(_group(dispatch, entry, causes, seen))
            current = dispatch
        groups[-1].entries.append(entry)
    return groups


def _group(dispatch: UUID | None, first: Entry, causes: Mapping[UUID, Message], seen: set[UUID]) -> Group:
    if dispatch is None:
        delivery = first.event.type == "message.status"
        title = "Delivery of the replies" if delivery else "Without a message"
        return Group(anchor=f"g{first.event.position}", title=title, message="")
    again = dispatch in seen
    seen.add(dispatch)
    cause = causes.get(dispatch)
    shown = "Dispatch" if cause is None else f"“{_cut(preview(cause.content))}”"
    return Group(
        anchor=f"g{first.event.position}" if again else f"d-{dispatch}",
        title=f"Continued: {shown}" if again else shown,
        message="" if cause is None else f"m-{cause.message_id}",
    )


def _cut(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:79]}…"


def ribbon(events: Sequence[Event], now: datetime) -> list[Stretch]:
    """How long the session spent in each state: up to its end, or up to *now* while it lasts."""
    turns: list[tuple[datetime, str]] = []
    for event in events:
        if event.type == "session.opened":
            turns.append((event.at, State.OPEN))
        elif event.type == "state.changed" and (new := str(event.payload.get("new"))) in wording.STATES:
            turns.append((event.at, new))
    if not turns:
        return []
    start = turns[0][0]
    end = turns[-1][0] if turns[-1][1] in TERMINAL else max(now, turns[-1][0])
    total = (end - start).total_seconds()
    if total <= 0:
        return [Stretch(state=turns[-1][1], start="0%", width="100%", share=1.0)]
    stretches = []
    for (at, state), (until, _) in zip(turns, [*turns[1:], (end, "")], strict=True):
        share = (until - at).total_seconds() / total
        if share > 0:
            place = (at - start).total_seconds() / total
            stretches.append(Stretch(state=state, start=_share(place), width=_share(share), share=share))
    return stretches


def shares(stretches: Sequence[Stretch]) -> list[tuple[str, float]]:
    """The ribbon in words: each state's share of the whole, largest first."""
    totals: dict[str, float] = {}
    for stretch in stretches:
        totals[stretch.state] = totals.get(stretch.state, 0.0) + stretch.share
    return sorted(totals.items(), key=lambda pair: -pair[1])
