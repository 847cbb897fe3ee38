"""The filters of the Conversation Logs: each stands here once, and whoever reads, shows or asks one goes by it.

The console's addresses and saved views, the API's parameters and their document, ``dragoman export``, the JSON of an
export that waits, and the list's SQL are made of :data:`FILTERS`. ``Filters`` has a typed field for each.
docs/how-to-add.md says how one is added.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from functools import partial
from typing import Any
from uuid import UUID

from dragoman.domain.outcomes import Outcome
from dragoman.domain.skill_calls import PATTERN as SKILL_CALLS
from dragoman.domain.skill_calls import SkillCalls
from dragoman.domain.states import State
from dragoman.domain.text_values import (
    CHANNEL_PATTERN,
    channel_of,
    first_moment,
    first_moment_in,
    last_moment,
    last_moment_in,
    partner_of,
    read_choice,
    true_or_false,
    without_nul,
)
from dragoman.store import reviews
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.conversation_list.filter_lookups import (
    FilterLookup,
    by_channel,
    by_end,
    by_partner,
    by_past_outcome,
    by_phone,
    by_skill_calls,
    by_undelivered,
    by_words,
)
from dragoman.translations import deferred


@dataclass(frozen=True, slots=True)
class ValueKind:
    """How a text becomes a filter's value: ``read`` makes it, and raises ValueError for what it cannot be.

    ``api_type`` is what the API's document calls it, ``longest`` how many characters the API takes, ``pattern`` what
    form the document says that a text has. ``refusal`` is what the console says of a text that cannot be read; where it
    is empty, the console says what ``read`` said. ``read_by_zone`` reads one that may be a day, which begins and ends
    elsewhere in each zone; ``read`` takes it for a day of UTC then.
    """

    api_type: type
    read: Callable[[str], Any]
    longest: int | None = None
    refusal: str = ""
    pattern: str = r"^[^\x00]+$"
    read_by_zone: Callable[[str, tzinfo], Any] | None = None

    def read_in(self, zone: tzinfo, text: str) -> Any:
        """Read it for somebody whose days are those of *zone*. Raises ValueError."""
        return self.read(text) if self.read_by_zone is None else self.read_by_zone(text, zone)


WORDS = ValueKind(str, without_nul, 200)
NAME = ValueKind(str, without_nul, 120)
YES_OR_NO = ValueKind(bool, true_or_false, refusal=deferred("is not true or false."))
STATE = ValueKind(State, partial(read_choice, State))
OUTCOME = ValueKind(Outcome, partial(read_choice, Outcome))
SINCE = ValueKind(datetime, first_moment, read_by_zone=first_moment_in)
UNTIL = ValueKind(datetime, last_moment, read_by_zone=last_moment_in)


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterField:
    """Declares one filter. ``name`` is its field in ``Filters`` and its key in JSON; ``label`` is what pages call it.

    ``api`` is its name among the API's parameters and ``console`` that in the console's addresses; without a name it
    cannot be given there. ``description`` is the API's. ``condition`` makes SQL of its value, a list being a choice;
    ``look_up`` does so where something must be read first: a filter has one of the two. One that takes ``several``
    values has a tuple of them in ``Filters``, of which a session must fit one, and its parameter may be given again.
    ``negates`` names the filter whose values it leaves out; the console writes it as that one's value after an
    exclamation mark. ``chip`` is a shorter label for the button that removes it, and ``called`` what its values are
    called. ``may_be_number``: what was typed may be a phone number, and is hidden from those who may see none.
    """

    name: str
    kind: ValueKind
    label: str
    chip: str = ""
    called: Mapping[str, str] = field(default_factory=dict)
    api: str = ""
    description: str = ""
    console: str = ""
    condition: Callable[[Any], Condition | list[Condition]] | None = None
    look_up: Callable[[FilterLookup, CompiledFilters, Any], Awaitable[None]] | None = None
    negates: str = ""
    several: bool = False
    may_be_number: bool = False

    def __post_init__(self) -> None:
        if (self.condition is None) == (self.look_up is None):
            raise ValueError(f"the filter {self.name} needs either a condition or a look-up")

    def read(self, texts: Sequence[str], zone: tzinfo = UTC) -> Any:
        """Read its value from the texts that were given, days being those of *zone*; the last one where it takes one.

        Raises ValueError.
        """
        if not self.several:
            return self.kind.read_in(zone, texts[-1])
        return tuple(dict.fromkeys(self.kind.read_in(zone, text) for text in texts))


def _column(name: str, operator: str = "=") -> Callable[[Any], Condition]:
    return lambda value: Condition(f"s.{name} {operator} {{}}", (value,))


def _either(holds: str, holds_not: str) -> Callable[[bool], Condition]:
    return lambda wanted: Condition(holds if wanted else holds_not)


def _any_of(name: str) -> Callable[[Sequence[Any]], list[Condition]]:
    # Each by itself, so that each is an ordered scan.
    equal = _column(name)
    return lambda wanted: [equal(value) for value in wanted]


def _any_other(column: str, values: type[StrEnum]) -> Callable[[Sequence[StrEnum]], list[Condition]]:
    # All the others, so that each is an ordered scan: were the value most of the list, a walk would be long.
    equal = _column(column)
    return lambda unwanted: [equal(other) for other in values if other not in unwanted]


def _skill_or_intent(names: Sequence[str]) -> list[Condition]:
    # No session fits two of the conditions, or it would stand in the list twice.
    by_intent = "(s.intent = {} AND (s.skill IS NULL OR s.skill <> ALL ({}::text[])))"
    return [
        *(Condition("s.skill = {}", (name,)) for name in names),
        *(Condition(by_intent, (name, list(names))) for name in names),
    ]


def _neither(names: Sequence[str]) -> Condition:
    return Condition(
        "((s.skill IS NULL OR s.skill <> ALL ({}::text[])) AND (s.intent IS NULL OR s.intent <> ALL ({}::text[])))",
        (list(names), list(names)),
    )


def _tagged(tags: Sequence[str]) -> Condition:
    return Condition(reviews.TAGGED, ([reviews.folded(tag) for tag in tags],))


FILTERS: tuple[FilterField, ...] = (
    FilterField(
        name="phone",
        kind=WORDS,
        label=deferred("Phone"),
        api="phone",
        description="Any part of a phone number, in any formatting",
        console="phone",
        look_up=by_phone,
        may_be_number=True,
    ),
    FilterField(
        name="intent",
        kind=NAME,
        label=deferred("Intent"),
        api="intent",
        description="Intent, by its exact name",
        condition=_any_of("intent"),
        several=True,
    ),
    FilterField(
        name="skill",
        kind=NAME,
        label=deferred("Skill"),
        api="skill",
        description="Skill, by its exact name",
        condition=_any_of("skill"),
        several=True,
    ),
    FilterField(
        name="skill_or_intent",
        kind=NAME,
        label=deferred("Skill / Intent"),
        console="skill_intent",
        condition=_skill_or_intent,
        several=True,
    ),
    FilterField(
        name="state",
        kind=STATE,
        label=deferred("State"),
        api="state",
        description="State of the session; may be given several times",
        console="state",
        condition=_any_of("state"),
        several=True,
    ),
    FilterField(
        name="outcome",
        kind=OUTCOME,
        label=deferred("Outcome"),
        api="outcome",
        description="Outcome of the session; may be given several times",
        console="outcome",
        condition=_any_of("outcome"),
        several=True,
    ),
    FilterField(
        name="channel",
        kind=ValueKind(str, channel_of, pattern=CHANNEL_PATTERN),
        label=deferred("Channel"),
        api="channel",
        description="`whatsapp`, `email`, or a channel account's id",
        console="channel",
        look_up=by_channel,
        several=True,
    ),
    FilterField(
        name="not_state",
        kind=STATE,
        label=deferred("Not in state"),
        api="state_not",
        description="Any state but this one",
        condition=_any_other("state", State),
        negates="state",
        several=True,
    ),
    FilterField(
        name="not_outcome",
        kind=OUTCOME,
        label=deferred("Not with outcome"),
        api="outcome_not",
        description="Any outcome but this one",
        condition=_any_other("outcome", Outcome),
        negates="outcome",
        several=True,
    ),
    FilterField(
        name="not_skill_or_intent",
        kind=NAME,
        label=deferred("Not skill or intent"),
        condition=_neither,
        negates="skill_or_intent",
        several=True,
    ),
    FilterField(
        name="had_outcome",
        kind=OUTCOME,
        label=deferred("Ever had outcome"),
        api="outcome_ever",
        description="Outcome that the session has, or had before its present one; may be given several times",
        console="had",
        look_up=by_past_outcome,
        several=True,
    ),
    FilterField(
        name="undelivered",
        kind=YES_OR_NO,
        label=deferred("Delivery"),
        called={"true": deferred("With undelivered replies"), "false": deferred("Without undelivered replies")},
        api="undelivered",
        description="Whether a reply in it was not delivered",
        console="undelivered",
        look_up=by_undelivered,
    ),
    FilterField(
        name="business_partner",
        kind=ValueKind(str, partner_of, 120),
        label=deferred("Business partner"),
        chip=deferred("Partner"),
        api="business_partner",
        description="Business partner, by number or id",
        console="business_partner",
        look_up=by_partner,
    ),
    FilterField(
        name="agent",
        kind=NAME,
        label=deferred("Agent"),
        api="agent",
        description="Name of the agent who has or had it",
        console="agent",
        condition=_any_of("agent_name"),
        several=True,
    ),
    FilterField(
        name="errors",
        kind=YES_OR_NO,
        label=deferred("With errors"),
        called={"true": deferred("With errors"), "false": deferred("Without errors")},
        api="errors",
        description="Whether something failed in it",
        console="errors",
        condition=_either("s.error_count > 0", "s.error_count = 0"),
    ),
    FilterField(
        name="ran",
        kind=ValueKind(str, SkillCalls.parse, 250, pattern=SKILL_CALLS, read_by_zone=SkillCalls.parse),
        label=deferred("Skill was called"),
        chip=deferred("Called"),
        console="ran",
        look_up=by_skill_calls,
    ),
    FilterField(
        name="tag",
        kind=NAME,
        label=deferred("Tag"),
        api="tag",
        description="Tag that a reviewer put on it",
        console="tag",
        condition=_tagged,
        several=True,
    ),
    FilterField(
        name="reviewed",
        kind=YES_OR_NO,
        label=deferred("Reviewed"),
        called={"true": deferred("Reviewed"), "false": deferred("Not reviewed")},
        api="reviewed",
        description="Whether somebody marked it as reviewed",
        console="reviewed",
        condition=_either(reviews.REVIEWED, f"NOT {reviews.REVIEWED}"),
    ),
    FilterField(
        name="q",
        kind=WORDS,
        label=deferred("Text"),
        api="q",
        description='Full text of the transcripts and the contact\'s name: `words`, `"a phrase"`, `begin*`, '
        "`-excluded`, `this OR that`",
        console="q",
        look_up=by_words,
        may_be_number=True,
    ),
    FilterField(
        name="since",
        kind=SINCE,
        label=deferred("From"),
        api="from",
        description="Last activity at or after this RFC 3339 time or day (UTC)",
        console="from",
        condition=_column("last_activity_at", ">="),
    ),
    FilterField(
        name="until",
        kind=UNTIL,
        label=deferred("Before"),
        chip=deferred("To"),
        api="to",
        description="Last activity before this RFC 3339 time, or up to the end of this day (UTC); or a message that "
        "was written before it, not before `from`, and arrived later",
        console="to",
        look_up=by_end,
    ),
    FilterField(
        name="contact",
        kind=ValueKind(UUID, UUID, refusal=deferred("is not a contact’s ID.")),
        label=deferred("Contact"),
        api="contact",
        description="All sessions of one contact, by its id",
        console="contact",
        condition=_column("contact_id"),
    ),
    FilterField(
        name="session_id",
        kind=ValueKind(UUID, UUID),
        label=deferred("Session"),
        condition=_column("session_id"),
    ),
)
"""All of them, in the order in which the API's document and addresses have them."""

NEGATIONS: Mapping[str, FilterField] = {each.negates: each for each in FILTERS if each.negates}
"""By the name of the filter that each negates."""
