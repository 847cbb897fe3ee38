"""The audit timeline as the page shows it: grouped by dispatch, told in words, with the states' ribbon."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import takewhile
from types import MappingProxyType
from typing import Any
from uuid import UUID

from markupsafe import Markup

from dragoman.bounded import reads_outside_text
from dragoman.domain.content import preview
from dragoman.domain.plain_text import cut, isolated
from dragoman.domain.states import TERMINAL, State
from dragoman.ledger.pages import StateSpan, TimelineDigest
from dragoman.ledger.read import Event, Message
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.translations import ngettext as _n
from dragoman.web.console import intent_explanation, wording
from dragoman.web.console.formatting import duration, milliseconds, since_start
from dragoman.web.console.intent_explanation import Guesses, IntentExplanation, share
from dragoman.web.console.wording import Facts

MOST_FIELDS = 80
"""How many of a payload's values are listed one by one; its JSON has all."""

# C0 and C1 controls but line breaks and tabs, zero-width and bidirectional formatting characters (UAX #9, 2).
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

_SKILL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}")
_ABOUT_SKILLS = frozenset({"skill.invoked", "skill.failed", "skill.succeeded", "skill.retired"})
"""Events whose title names a skill."""

_ATTEMPTS = frozenset({"skill.invoked", "skill.failed", "skill.retry_scheduled", "skill.succeeded"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """Tells one event in words.

    ``message`` is the id of the transcript element that it speaks of, empty for none. ``skill`` is the skill that its
    title names, ``skill_place`` where on the skill's page one reads on. ``fields`` are the payload's
    leaves with their paths, ``payload`` is the JSON as it was stored, indented. ``values`` are those that the page
    shows without being asked. ``elapsed`` is how long after the beginning of its turn it happened.
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
    skill: str = ""
    old_state: str = ""
    new_state: str = ""
    outcome: str = ""
    guesses: Guesses | None = None
    explanation: IntentExplanation | None = None
    fields: tuple[tuple[str, str], ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    elapsed: str = ""

    @property
    def anchor(self) -> str:
        """Is the element's id."""
        return f"e{self.event.position}"

    @property
    def skill_place(self) -> str:
        """Is where on the skill's page one reads on: who retired it stands in its history."""
        return "#history" if self.event.type == "skill.retired" else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """The attempts of one call between the first one's start and the last one's result; shown when asked for."""

    title: str
    detail: str
    entries: list[TimelineEntry]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedStep:
    """A step of a turn that took time; ``start`` and ``width`` place its bar, in percent of the turn."""

    name: str
    lasted: str
    start: str
    width: str
    hue: str


@dataclass(slots=True, kw_only=True)
class DispatchGroup:
    """Events that stand together because one message caused them, or none did.

    ``began`` is when the turn did that they belong to, None where that is not known. ``is_continued``: the turn began
    further up. ``turn`` has the events of all groups of the turn.
    """

    anchor: str
    title: str
    message: str
    dispatch: UUID | None = None
    began: datetime | None = None
    is_continued: bool = False
    entries: list[TimelineEntry] = field(default_factory=list)
    turn: list[TimelineEntry] = field(default_factory=list)

    @property
    def lasted(self) -> str:
        """How long the turn took, up to the last of its events."""
        return "" if self.began is None else duration(self._lasted_s(self.began))

    def _lasted_s(self, began: datetime) -> float:
        return max((self.turn[-1].event.at - began).total_seconds(), 0.0)

    @property
    def timed_steps(self) -> list[TimedStep]:
        """The steps whose length is on record, where there are several: one alone says its length itself."""
        if self.began is None or self.is_continued:
            return []
        whole = self._lasted_s(self.began)
        found = [timed for entry in self.turn if (timed := _timed(entry, self.began, whole)) is not None]
        return found if len(found) > 1 else []

    @property
    def rows(self) -> list[TimelineEntry | Fold]:
        """The entries, with a call's retries folded into one row."""
        return _folded(self.entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of the ribbon: a state and where it stands, in percent of the session's length."""

    state: str
    start: str
    width: str
    share: float
    since: datetime
    until: datetime


_TIMED = frozenset({"classifier.ran", "classifier.failed", "skill.succeeded", "skill.failed", "skill.retry_scheduled"})
"""Events that say how long something took, which ended with them; a retry's pause begins with its event."""


def _timed(entry: TimelineEntry, began: datetime, whole_s: float) -> TimedStep | None:
    """The step's bar in a turn of *whole_s* seconds; None for what has no length."""
    event, facts = entry.event, entry.event.payload
    is_pause = event.type == "skill.retry_scheduled"
    length = facts.get("delay_seconds" if is_pause else "duration_ms")
    if event.type not in _TIMED or whole_s <= 0 or not isinstance(length, int | float) or isinstance(length, bool):
        return None
    length_s = float(length) if is_pause else length / 1000
    at_s = (event.at - began).total_seconds() - (0.0 if is_pause else length_s)
    start = min(max(at_s / whole_s, 0.0), 1.0)
    classifier = _("Classifier %(name)s", name=facts.get("classifier"))
    return TimedStep(
        name=_("Pause before retry") if is_pause else str(facts.get("skill") or classifier),
        lasted=milliseconds(length_s * 1000),
        start=share(start),
        # A step of no width would not be seen.
        width=share(max(min(length_s / whole_s, 1.0 - start), 0.005)),
        hue="red" if event.type.endswith(".failed") else "" if is_pause else "accent",
    )


_DELIVERIES = frozenset({"message.status", "outbox.changed"})
"""Events that say how far something came that was to be sent."""

_BESIDE = {
    "message.status": deferred("Delivery status"),
    "trigger.fired": deferred("Automation"),
    "outbox.changed": deferred("Automation"),
}
"""What no message has caused, by the first of it."""


def entries_of(
    events: Sequence[Event],
    known_messages: Container[str] | None = None,
    *,
    known: Mapping[str, object] = MappingProxyType({}),
) -> list[TimelineEntry]:
    """Every event in words; where *known_messages* are given, no other message is pointed at.

    *known* is what the page knows beside the events, under the names that :mod:`wording` has for it.
    """
    return _explained([_entry(event, known_messages, known) for event in events])


def _entry(event: Event, known_messages: Container[str] | None, told: Mapping[str, object]) -> TimelineEntry:
    words = wording.EVENTS.get(event.type, wording.UNKNOWN)
    # What somebody wrote is told with their name, which the event has beside its payload.
    facts = Facts(event.payload, **told, **{wording.ACTOR: event.actor_name, wording.AT: event.at})
    is_delivery = event.type in _DELIVERIES
    failed = is_delivery and facts["status"] == "failed"
    waits = is_delivery and facts["status"] in ("retrying", "held")
    named = translated(wording.ACTORS.get(event.actor_kind, str(event.actor_kind)))
    message = facts.get("message_id")
    known = isinstance(message, str) and (known_messages is None or message in known_messages)
    return TimelineEntry(
        event=event,
        icon="circle-alert" if failed else "clock" if waits else words.icon,
        hue="red" if failed else "amber" if waits else words.hue,
        title=words.title(facts) or Markup("{}").format(event.label),
        detail=words.detail(facts),
        about="error" if failed else words.about,
        actor=f"{named} {isolated(event.actor_name)}".strip(),
        payload=visible(json.dumps(event.payload, indent=2, ensure_ascii=False, default=str)),
        message=f"m-{message}" if known else "",
        skill=_skill(event),
        old_state=_known(facts.get("old"), wording.STATES) if event.type == "state.changed" else "",
        new_state=_new_state(event, facts),
        outcome=_known(facts.get("outcome"), wording.OUTCOMES) if event.type == "outcome.assigned" else "",
        guesses=Guesses.of(facts) if event.type == "classifier.ran" else None,
        fields=tuple(_leaves(event.payload))[:MOST_FIELDS],
        values=_values(event, facts),
    )


def _skill(event: Event) -> str:
    named = event.payload.get("skill") if event.type in _ABOUT_SKILLS else None
    return named if isinstance(named, str) and _SKILL_NAME.fullmatch(named) else ""


def _known(value: object, names: Mapping[str, object]) -> str:
    return value if isinstance(value, str) and value in names else ""


def _new_state(event: Event, facts: Facts) -> str:
    if event.type == "session.opened":
        return State.OPEN
    return _known(facts.get("new"), wording.STATES) if event.type == "state.changed" else ""


_SHOWN_VALUES = {"skill.invoked": "parameters", "skill.succeeded": "result", "flow.step_failed": "collected"}


def _values(event: Event, facts: Facts) -> tuple[tuple[str, str], ...]:
    name = _SHOWN_VALUES.get(event.type)
    held = facts.get(name) if name else None
    if not isinstance(held, dict):
        return ()
    return tuple((str(key), _written(value)) for key, value in list(held.items())[:12])


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return visible(cut(text, 160, mark="…"))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value of a payload with the path that leads to it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value, 1):
            yield from _leaves(inner, f"{path} {number}")
    elif value is None or value in ("", [], {}):
        yield visible(path), "–"
    else:
        yield visible(path), visible(value if isinstance(value, str) else json.dumps(value, default=str))


@reads_outside_text
def visible(text: str) -> str:
    """*text* with what would be invisible, or would turn the order of the text round, written as an escape."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _explained(entries: list[TimelineEntry]) -> list[TimelineEntry]:
    """The same with a panel at each intent; the classifier's bars move there from the event that brought them."""
    ran: dict[UUID | None, int] = {}
    failures: dict[UUID | None, Facts] = {}
    for place, entry in enumerate(entries):
        dispatch = entry.event.dispatch_id
        if entry.event.type == "classifier.ran":
            ran[dispatch] = place
        elif entry.event.type == "classifier.failed":
            failures[dispatch] = Facts(entry.event.payload)
        elif entry.event.type in {"intent.assigned", "intent.unclear"}:
            before = ran.pop(dispatch, None)
            classified = None if before is None else Facts(entries[before].event.payload)
            explain = (
                intent_explanation.assigned if entry.event.type == "intent.assigned" else intent_explanation.unclear
            )
            panel = explain(Facts(entry.event.payload), classified, failures.pop(dispatch, None))
            entries[place] = dataclasses.replace(entry, explanation=panel)
            if before is not None and panel is not None:
                entries[before] = dataclasses.replace(entries[before], guesses=None)
    return entries


def _folded(entries: Sequence[TimelineEntry]) -> list[TimelineEntry | Fold]:
    rows: list[TimelineEntry | Fold] = []
    rest = list(entries)
    while rest:
        rows.append(entry := rest.pop(0))
        if entry.event.type != "skill.invoked":
            continue
        attempts = list(takewhile(lambda later: _goes_on(entry, later), rest))
        if attempts and attempts[-1].event.type in {"skill.failed", "skill.succeeded"}:
            attempts.pop()
        retries = [later for later in attempts if later.event.type == "skill.retry_scheduled"]
        if retries:
            rows.append(_fold(attempts, retries))
            del rest[: len(attempts)]
    return rows


def _goes_on(call: TimelineEntry, later: TimelineEntry) -> bool:
    """Whether *later* belongs to the same call: another attempt of it, or the end of one."""
    first = later.event.type == "skill.invoked" and later.event.payload.get("attempt") == 1
    same = later.event.payload.get("skill") == call.event.payload.get("skill")
    return later.event.type in _ATTEMPTS and same and not first


def _fold(attempts: list[TimelineEntry], retries: list[TimelineEntry]) -> Fold:
    failed = [entry for entry in attempts if entry.event.type == "skill.failed"]
    classes = dict.fromkeys(str(entry.event.payload.get("error_class")) for entry in failed)
    pauses = [entry.event.payload.get("delay_seconds") for entry in retries]
    paused = sum(pause for pause in pauses if isinstance(pause, int | float))
    return Fold(
        title=_n("%(count)s earlier attempt failed", "%(count)s earlier attempts failed", len(failed)),
        detail=f"{', '.join(classes)} · {_('paused %(duration)s', duration=duration(paused))}",
        entries=attempts,
    )


BEGINNINGS = frozenset({"message.received", "message.echoed"})
"""The events with which a dispatch begins."""


def grouped(
    entries: Sequence[TimelineEntry],
    causes: Iterable[Message],
    *,
    before: int = 0,
    beginnings: Mapping[UUID, datetime] = MappingProxyType({}),
) -> list[DispatchGroup]:
    """Runs of events of one dispatch, in order, under the message that each run handles.

    *causes* are the messages that may have caused them; *before* is how many events of the session come before
    these: what began among those goes on here, and *beginnings* may say when it began.
    """
    caused = {message.dispatch_id: message for message in causes if message.came_in and message.dispatch_id is not None}
    begun = {entry.event.dispatch_id for entry in entries if entry.event.type in BEGINNINGS}
    groups: list[DispatchGroup] = []
    seen: dict[UUID, datetime | None] = {}
    turns: dict[UUID, list[TimelineEntry]] = {}
    current: object = object()
    for entry in entries:
        dispatch = entry.event.dispatch_id
        if dispatch != current:
            again = dispatch in seen or (before > 0 and dispatch not in begun)
            groups.append(_group(dispatch, entry, caused, again=again))
            current = dispatch
            if dispatch is not None:
                seen.setdefault(dispatch, beginnings.get(dispatch) if again else entry.event.at)
                groups[-1].began = seen[dispatch]
                groups[-1].turn = turns.setdefault(dispatch, [])
        timed = _with_elapsed(entry, groups[-1].began)
        groups[-1].entries.append(timed)
        groups[-1].turn.append(timed)
    return groups


def _with_elapsed(entry: TimelineEntry, began: datetime | None) -> TimelineEntry:
    if began is None:
        return entry
    return dataclasses.replace(entry, elapsed=since_start(max((entry.event.at - began).total_seconds(), 0.0)))


def _group(
    dispatch: UUID | None, first: TimelineEntry, causes: Mapping[UUID, Message], *, again: bool
) -> DispatchGroup:
    if dispatch is None:
        title = translated(_BESIDE.get(first.event.type, deferred("Without a message")))
        return DispatchGroup(anchor=f"g{first.event.position}", title=title, message="")
    cause = causes.get(dispatch)
    shown = _("Dispatch") if cause is None else f"“{cut(preview(cause.content), 80, mark='…')}”"
    return DispatchGroup(
        anchor=f"g{first.event.position}" if again else f"d-{dispatch}",
        title=_("Continued: %(message)s", message=shown) if again else shown,
        message="" if cause is None else f"m-{cause.message_id}",
        dispatch=dispatch,
        is_continued=again,
    )


def ribbon(stays: Sequence[StateSpan], now: datetime) -> list[Stretch]:
    """How long the session spent in each state: up to its end, or up to *now* while it lasts."""
    known = [stay for stay in stays if stay.state in wording.STATES]
    if not known:
        return []
    start = known[0].start
    last = known[-1]
    end = last.start if last.state in TERMINAL else max(now, last.start)
    total = (end - start).total_seconds()
    if total <= 0:
        return [Stretch(state=last.state, start="0%", width="100%", share=1.0, since=start, until=end)]
    stretches = []
    for stay, until in zip(known, [*(stay.start for stay in known[1:]), end], strict=True):
        part = (until - stay.start).total_seconds() / total
        if part > 0:
            place = (stay.start - start).total_seconds() / total
            stretches.append(
                Stretch(
                    state=stay.state,
                    start=share(place),
                    width=share(part),
                    share=part,
                    since=stay.start,
                    until=until,
                )
            )
    return stretches


def spent(digest: TimelineDigest, now: datetime) -> list[tuple[str, float]]:
    """Each state's seconds, most first; the state that lasts is counted up to *now*."""
    totals = {state: seconds for state, seconds in digest.spent.items() if state in wording.STATES and seconds > 0}
    last = digest.state_spans[-1] if digest.state_spans else None
    if last is not None and last.state in wording.STATES and last.state not in TERMINAL:
        totals[last.state] = totals.get(last.state, 0.0) + max((now - last.start).total_seconds(), 0.0)
    return sorted(totals.items(), key=lambda pair: -pair[1])
