"""Reads a session's timeline for what is counted of it: dispatches of skills, outcomes, misses, waiting for people.

The counts are sums of what each session adds, by quarter of an hour. The same events always add the same, so a session
can be counted again whenever it has changed: what it added before is taken out, what it adds now is put in.

A *dispatch* of a skill is one call with all its attempts. It counts at the time of its first attempt. Its duration is
what all of its attempts took, without the pauses between them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

QUARTER_SECONDS = 900
"""The finest grain of counts: in every time zone days begin at a quarter of an hour."""

GROWTH = 1.05
"""By how much the upper end of a histogram's bucket is above its lower end."""


class Measure(StrEnum):
    """What is counted; in brackets what the name beside it says."""

    DISPATCHES = "dispatches"  # (skill)
    SUCCEEDED = "succeeded"  # (skill)
    FAILED = "failed"  # (skill)
    LOST = "lost"  # (skill) its dispatch was orphaned
    DURATION_US = "duration_us"  # (skill) microseconds of those that succeeded or failed
    COST_MICROS = "cost_micros"  # (skill)
    LATENCY = "latency"  # (skill) histogram
    OUTCOMES = "outcomes"  # (outcome)
    SESSIONS = "sessions"  # begun
    HANDOFFS = "handoffs"  # sessions escalated to people
    CLAIMS = "claims"  # escalated sessions that somebody took
    WAIT_MS = "wait_ms"  # until somebody took them
    WAIT = "wait"  # histogram of the same
    MISSES = "misses"  # messages that were not understood
    CLASSIFIER_RUNS = "classifier_runs"
    CLASSIFIER_MICROS = "classifier_micros"


HISTOGRAMS = frozenset({Measure.LATENCY, Measure.WAIT})

EVENTS: Mapping[str, tuple[str, ...]] = {
    "session.opened": (),
    "message.received": ("message_id",),
    "classifier.ran": ("cost_micros", "candidates"),
    "classifier.failed": ("cost_micros",),
    "intent.unclear": ("reason",),
    "skill.invoked": ("skill", "skill_version", "attempt"),
    "skill.succeeded": ("skill", "duration_ms", "cost_micros"),
    "skill.failed": ("skill", "duration_ms", "error_class"),
    "skill.retry_scheduled": ("skill",),
    "dispatch.orphaned": (),
    "outcome.assigned": ("outcome",),
    "handoff.requested": (),
    "handoff.claimed": (),
}
"""The types of events that count, each with what of its payload does."""

WORDLESS = "there are no words to read"
"""How the reason ends of a message that was not understood because nothing can be read in it."""


class InvocationResult(StrEnum):
    """How a dispatch of a skill ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEvent:
    """Is an event of a timeline, with those of its payload's values that :data:`EVENTS` names."""

    position: int
    at: datetime
    type: str
    dispatch_id: UUID | None
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One dispatch of a skill. ``position`` is that of its first event, ``end_position`` that of its last one."""

    position: int
    at: datetime
    skill: str
    skill_version: str
    dispatch_id: UUID | None
    result: InvocationResult = InvocationResult.RUNNING
    attempts: int = 1
    duration_ms: float | None = None
    cost_micros: int = 0
    error_class: str = ""
    end_position: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A message that was not understood; ``best_guess`` is what the classifier thought of first."""

    position: int
    at: datetime
    message_id: UUID | None
    best_guess: str
    confidence: float | None
    is_wordless: bool


CountKey = tuple[int, str, str, int]
"""The quarter's beginning (seconds since 1970), the measure, the name beside it, the bucket (0 for a sum)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """What a session adds to the counts."""

    invocations: tuple[Invocation, ...]
    misses: tuple[Miss, ...]
    counts: Mapping[CountKey, int]


def read_usage(events: Iterable[CountedEvent]) -> SessionUsage:
    """Read what a session adds; *events* are those of :data:`EVENTS`, in their order."""
    reader = _Reader()
    for event in events:
        reader.take(event)
    return reader.finish()


class _Reader:
    def __init__(self) -> None:
        self._open: dict[tuple[UUID | None, str], Invocation] = {}
        self._ended: list[Invocation] = []
        self._misses: list[Miss] = []
        self._counts: Counter[CountKey] = Counter()
        self._message_of: dict[UUID | None, UUID] = {}
        self._guess_of: dict[UUID | None, tuple[str, float]] = {}
        self._waiting_since: datetime | None = None

    def take(self, event: CountedEvent) -> None:
        match event.type:
            case "skill.invoked" | "skill.succeeded" | "skill.failed" | "skill.retry_scheduled":
                self._about_skill(event)
            case "dispatch.orphaned":
                # What it had begun is lost; a late result comes as another event of this type.
                for key in [key for key in self._open if key[0] == event.dispatch_id]:
                    self._end(key, event, InvocationResult.LOST)
            case "message.received":
                self._message_of.setdefault(event.dispatch_id, UUID(event.values["message_id"]))
            case "classifier.ran" | "classifier.failed":
                self._about_classifier(event)
            case "intent.unclear":
                self._missed(event)
            case "outcome.assigned":
                self._add(event.at, Measure.OUTCOMES, event.values["outcome"])
            case "session.opened":
                self._add(event.at, Measure.SESSIONS)
            case "handoff.requested":
                self._add(event.at, Measure.HANDOFFS)
                self._waiting_since = event.at
            case "handoff.claimed":
                self._claimed(event)

    def finish(self) -> SessionUsage:
        invocations = sorted((*self._ended, *self._open.values()), key=lambda one: one.position)
        for one in invocations:
            self._count(one)
        return SessionUsage(
            invocations=tuple(invocations),
            misses=tuple(self._misses),
            counts={k: n for k, n in self._counts.items() if n},
        )

    def _add(self, at: datetime, measure: Measure, name: str = "", value: int = 1, bucket: int = 0) -> None:
        self._counts[quarter_of(at), measure, name, bucket] += value

    def _about_skill(self, event: CountedEvent) -> None:
        key = event.dispatch_id, event.values["skill"]
        if event.type == "skill.invoked" and (event.values["attempt"] == 1 or key not in self._open):
            if key in self._open:
                # Nothing says how the one before ended.
                self._end(key, event, InvocationResult.LOST)
            self._open[key] = Invocation(
                position=event.position,
                at=event.at,
                skill=event.values["skill"],
                skill_version=event.values["skill_version"],
                dispatch_id=event.dispatch_id,
                attempts=event.values["attempt"],
            )
            return
        before = self._open.get(key)
        if event.type == "skill.retry_scheduled":
            self._resume(key)
        elif before is None:
            return
        elif event.type == "skill.invoked":
            self._open[key] = replace(before, attempts=event.values["attempt"])
        else:
            took = (before.duration_ms or 0.0) + float(event.values["duration_ms"])
            cost = before.cost_micros + int(event.values.get("cost_micros") or 0)
            error = event.values.get("error_class") or ""
            self._open[key] = replace(before, duration_ms=took, cost_micros=cost, error_class=error)
            self._end(
                key, event, InvocationResult.SUCCEEDED if event.type == "skill.succeeded" else InvocationResult.FAILED
            )

    def _end(self, key: tuple[UUID | None, str], event: CountedEvent, result: InvocationResult) -> None:
        self._ended.append(replace(self._open.pop(key), result=result, end_position=event.position))

    def _resume(self, key: tuple[UUID | None, str]) -> None:
        """The attempt that failed was not the last one: the dispatch goes on."""
        for place in range(len(self._ended) - 1, -1, -1):
            one = self._ended[place]
            if (one.dispatch_id, one.skill) == key and one.result is InvocationResult.FAILED:
                del self._ended[place]
                self._open[key] = replace(one, result=InvocationResult.RUNNING, end_position=None)
                return

    def _about_classifier(self, event: CountedEvent) -> None:
        if event.type == "classifier.ran":
            self._add(event.at, Measure.CLASSIFIER_RUNS)
            candidates = event.values.get("candidates") or []
            if candidates:
                self._guess_of[event.dispatch_id] = candidates[0]["intent"], float(candidates[0]["confidence"])
        cost = int(event.values.get("cost_micros") or 0)
        if cost:
            self._add(event.at, Measure.CLASSIFIER_MICROS, value=cost)

    def _missed(self, event: CountedEvent) -> None:
        guess, confidence = self._guess_of.get(event.dispatch_id, ("", None))
        self._misses.append(
            Miss(
                position=event.position,
                at=event.at,
                message_id=self._message_of.get(event.dispatch_id),
                best_guess=guess,
                confidence=confidence,
                is_wordless=str(event.values.get("reason", "")).endswith(WORDLESS),
            )
        )
        self._add(event.at, Measure.MISSES)

    def _claimed(self, event: CountedEvent) -> None:
        if self._waiting_since is None:
            return
        waited_ms = max(0, round((event.at - self._waiting_since).total_seconds() * 1000))
        self._waiting_since = None
        self._add(event.at, Measure.CLAIMS)
        self._add(event.at, Measure.WAIT_MS, value=waited_ms)
        self._add(event.at, Measure.WAIT, bucket=bucket_of(waited_ms))

    def _count(self, one: Invocation) -> None:
        self._add(one.at, Measure.DISPATCHES, one.skill)
        if one.cost_micros:
            self._add(one.at, Measure.COST_MICROS, one.skill, one.cost_micros)
        match one.result:
            case InvocationResult.SUCCEEDED:
                self._add(one.at, Measure.SUCCEEDED, one.skill)
            case InvocationResult.FAILED:
                self._add(one.at, Measure.FAILED, one.skill)
            case InvocationResult.LOST:
                self._add(one.at, Measure.LOST, one.skill)
        if one.result in (InvocationResult.SUCCEEDED, InvocationResult.FAILED):
            took = one.duration_ms or 0.0
            self._add(one.at, Measure.DURATION_US, one.skill, round(took * 1000))
            self._add(one.at, Measure.LATENCY, one.skill, bucket=bucket_of(took))


def quarter_of(at: datetime) -> int:
    """The beginning of the quarter of an hour that *at* is in, in seconds since 1970."""
    seconds = math.floor(at.timestamp())
    return seconds - seconds % QUARTER_SECONDS


def quarters_around(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Round a time outwards to quarters of an hour, as the counts have them."""
    end = start_of(quarter_of(until), "q")
    return start_of(quarter_of(since), "q"), end if end == until else end + timedelta(seconds=QUARTER_SECONDS)


def start_of(quarter: int, grain: str) -> datetime:
    """The beginning of the quarter (q), hour (h), day of UTC (d) or week from a Thursday on (w) that it lies in."""
    length = {"q": QUARTER_SECONDS, "h": 3600, "d": 86400, "w": 7 * 86400}[grain]
    return datetime.fromtimestamp(quarter - quarter % length, UTC)


def bucket_of(milliseconds: float) -> int:
    """The histogram's bucket of a duration; each is 5 % wide, and none is 0."""
    # From a hundredth of a millisecond on, so that buckets count from 1.
    return 1 + max(0, math.ceil(math.log(max(milliseconds, 0.01) / 0.01, GROWTH)))


def percentile(histogram: Mapping[int, int], share: float) -> float | None:
    """The duration in milliseconds below which *share* of a histogram lies, within 2.5 %; None for an empty one."""
    total = sum(histogram.values())
    rank = max(1, math.ceil(share * total))
    for bucket in sorted(histogram):
        rank -= histogram[bucket]
        if histogram[bucket] and rank <= 0:
            return 0.01 * GROWTH ** (bucket - 1) * 2 / (1 + GROWTH)
    return None
