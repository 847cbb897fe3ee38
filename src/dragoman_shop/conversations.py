"""Some hundred conversations for the demo: who writes what and when, always the same for the same seed.

Knows nothing of the dispatcher: it plays contacts, as the world does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from dragoman_shop import open_now, unusual
from dragoman_shop.agents import Act
from dragoman_shop.care import Care, Way, is_answered_at_once, way_of
from dragoman_shop.customers import BUSINESS_PARTNERS, PEOPLE, Customer
from dragoman_shop.steps import SentAttachment, Step
from dragoman_shop.stories import ESCALATIONS, STORIES, Story, Tale, asks_balance

__all__ = ["Act", "Customer", "Script", "SentAttachment", "Step", "conversations", "unusual_ones", "with_open_ones"]

APART = timedelta(hours=3)
"""Between the starts of two conversations of one person: the first has expired by then."""

ESCALATED_SHARE = 0.11
SETTLED_DAYS = 5
"""Conversations that come to a person begin so long before the end that all of them are over by then."""

HOURS = (8, 9, 9, 10, 10, 11, 11, 12, 13, 14, 15, 16, 16, 17, 18, 19, 20, 21, 22)


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation: *person* begins *start* after the period's beginning and takes *steps*.

    ``care`` is what agents and contact do from then on if the bot has handed it over; ``escalates`` says that it will.
    """

    person: Customer
    start: timedelta
    steps: tuple[Step, ...]
    care: tuple[Step | Act, ...] = ()
    escalates: bool = False


def conversations(count: int, seed: int, *, days: int = 100) -> list[Script]:
    """*count* scripts over *days*, by start; more of them lately than long ago.

    A person whose conversation is escalated begins none after it: :func:`with_open_ones` takes its contacts from them.
    """
    random = Random(seed)  # noqa: S311 - the same stories each time, no secrets
    escalated = random.sample(PEOPLE, min(len(PEOPLE) // 2, round(count * ESCALATED_SHARE)))
    taken: dict[Customer, list[timedelta]] = {person: [] for person in PEOPLE}
    last = {person: _moment(random, days, early=0.3, latest=days - SETTLED_DAYS) for person in escalated}
    scripts = []
    for person, start in last.items():
        taken[person].append(start)
        scripts.append(replace(_script(random, person, start, ESCALATIONS), escalates=True))
    while len(scripts) < count:
        person, start = random.choice(PEOPLE), _moment(random, days)
        ended = person in last and start > last[person]
        if not ended and all(abs(start - other) >= APART for other in taken[person]):
            taken[person].append(start)
            scripts.append(_script(random, person, start, STORIES))
    return _cared_for(sorted(scripts, key=lambda script: (script.start, script.person.phone)), seed)


def with_open_ones(scripts: list[Script], seed: int, end: timedelta) -> list[Script]:
    """*scripts* and, by people whose earlier conversation is over, those that are with agents at *end*."""
    free = [script.person for script in scripts if script.escalates]
    open_ones = [
        Script(tale.person, open_now.start_of(scene, tale, end), tuple(tale.steps), tuple(care.steps), escalates=True)
        for scene, tale, care in open_now.scenes(free, seed)
    ]
    return [*scripts, *open_ones]


def unusual_ones(seed: int, begin: datetime, until: datetime) -> list[Script]:
    """Those that go another way than most, nearly all of them in the last hours before *until*."""
    return [Script(person, start, steps) for person, start, steps in unusual.stories_told(seed, begin, until)]


def _cared_for(scripts: list[Script], seed: int) -> list[Script]:
    """Each script with what agents do once it is handed over, in every way that there is."""
    random, escalations, cared = Random(seed), 0, []  # noqa: S311 - the same stories each time, no secrets
    for script in scripts:
        way: Way = is_answered_at_once
        if script.escalates:
            way, escalations = way_of(escalations), escalations + 1
        care = Care(random, script.person)
        way(care)
        cared.append(replace(script, care=tuple(care.steps)))
    return cared


def _moment(random: Random, days: int, *, early: float = 0.0, latest: int | None = None) -> timedelta:
    """A time of day when people write, on any day after the first *early* share; the later, the likelier."""
    day = int(days * (early + (1 - early) * random.random() ** 0.75))
    if latest is not None:
        day = min(day, latest)
    return timedelta(days=day, hours=random.choice(HOURS), seconds=random.randrange(3600))


def _script(random: Random, person: Customer, start: timedelta, stories: tuple[tuple[Story, int], ...]) -> Script:
    told = [story for story, _ in stories]
    weights = [weight * _inclination(person, story) for story, weight in stories]
    tale = Tale(random, person)
    random.choices(told, weights)[0](tale)
    return Script(person, start, tuple(tale.steps))


def _inclination(person: Customer, story: Story) -> float:
    """People who work for a customer ask about money; hardly anybody else does."""
    if story is not asks_balance:
        return 1.0
    return 5.0 if any(person.phone in partner.phones for partner in BUSINESS_PARTNERS) else 0.4
