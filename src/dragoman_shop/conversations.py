"""Some hundred conversations for the demo: who writes what and when, always the same for the same seed.

Knows nothing of the dispatcher: it plays contacts, as the world does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from dragoman_shop.customers import BUSINESS_PARTNERS, PEOPLE, Customer
from dragoman_shop.steps import SentAttachment, Step
from dragoman_shop.stories import ESCALATIONS, STORIES, Story, Tale, asks_balance

__all__ = ["Customer", "Script", "SentAttachment", "Step", "conversations"]

APART = timedelta(hours=3)
"""Between the starts of two conversations of one person: the first has expired by then."""

ESCALATED_SHARE = 0.11
HOURS = (8, 9, 9, 10, 10, 11, 11, 12, 13, 14, 15, 16, 16, 17, 18, 19, 20, 21, 22)


@dataclass(frozen=True, slots=True)
class Script:
    """One conversation: *person* begins *start* after the period's beginning and takes *steps*."""

    person: Customer
    start: timedelta
    steps: tuple[Step, ...]


def conversations(count: int, seed: int, *, days: int = 100) -> list[Script]:
    """*count* scripts over *days*, by start; more of them lately than long ago.

    A person whose conversation is escalated writes none after it.
    """
    random = Random(seed)  # noqa: S311 - the same stories each time, no secrets
    escalated = random.sample(PEOPLE, min(len(PEOPLE) // 2, round(count * ESCALATED_SHARE)))
    taken: dict[Customer, list[timedelta]] = {person: [] for person in PEOPLE}
    last = {person: _moment(random, days, early=0.3) for person in escalated}
    scripts = []
    for person, start in last.items():
        taken[person].append(start)
        scripts.append(_script(random, person, start, ESCALATIONS))
    while len(scripts) < count:
        person, start = random.choice(PEOPLE), _moment(random, days)
        ended = person in last and start > last[person]
        if not ended and all(abs(start - other) >= APART for other in taken[person]):
            taken[person].append(start)
            scripts.append(_script(random, person, start, STORIES))
    return sorted(scripts, key=lambda script: (script.start, script.person.phone))


def _moment(random: Random, days: int, *, early: float = 0.0) -> timedelta:
    """A time of day when people write, on any day after the first *early* share; the later, the likelier."""
    day = int(days * (early + (1 - early) * random.random() ** 0.75))
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
