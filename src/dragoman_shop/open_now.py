"""The conversations that are with agents when the demo begins: who waits, who is being answered, and since when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from dragoman_shop.agents import ANA, CHIARA, JONAS
from dragoman_shop.care import HOUR, MINUTE, Care
from dragoman_shop.customers import Customer
from dragoman_shop.stories import Story, Tale

DRAFT = "I have found your order. The dishwasher leaves our warehouse"
NOTE = "Nobody rang them back yesterday. Please be generous."
SHARED_DRAFT = "I am sorry that nobody rang you back. For the trouble we take 10 % off your next order."


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One conversation that is open: *language* of its contact, and how many minutes ago it was handed over."""

    language: str
    minutes_ago: float
    story: Story
    care: Callable[[Care], None]


def asks(tale: Tale) -> None:
    """Ask for a person."""
    tale.say("greeting")
    tale.say("human")


def asks_after_failure(tale: Tale) -> None:
    """Ask for a person in the middle of a question: the payment gateway is down, and they have had enough."""
    tale.say("pay")
    tale.say("it_is")
    tale.say("reschedule")
    tale.say("it_is")
    tale.say("human")


def is_not_understood(tale: Tale) -> None:
    """Writes three times what nobody could understand."""
    for _ in range(3):
        tale.say("strange")


def waits(care: Care) -> None:
    """Nobody has come yet."""


def waits_and_asks(care: Care) -> None:
    """Nobody has come yet, and the contact asks where they are."""
    care.say("waiting", after=9 * MINUTE)


def waits_for_ana(care: Care) -> None:
    """Ana has asked, and the contact has answered."""
    care.do("claim", by=ANA, after=4 * MINUTE)
    care.reply("hello", by=ANA, after=2 * MINUTE)
    care.reply("which_order", by=ANA, after=MINUTE)
    care.say("it_is", after=9 * MINUTE)


def is_being_written(care: Care) -> None:
    """Ana has begun her answer, and a colleague has left another for her."""
    care.do("claim", by=ANA, after=5 * MINUTE)
    care.reply("hello", by=ANA, after=2 * MINUTE)
    care.do("note", NOTE, by=JONAS, after=4 * MINUTE)
    care.say("waiting", after=15 * MINUTE)
    care.do("draft", SHARED_DRAFT, by=CHIARA, after=3 * MINUTE, shared=True)
    care.do("draft", DRAFT, by=ANA, after=2 * MINUTE)


def needs_template(care: Care) -> None:
    """Ana has answered, and the contact wrote more than a day ago: free text is not taken any more."""
    care.do("claim", by=ANA, after=6 * MINUTE)
    care.reply("hello", by=ANA, after=3 * MINUTE)
    care.reply("which_order", by=ANA, after=22 * HOUR)


def is_with_jonas(care: Care) -> None:
    """A colleague has it."""
    care.do("claim", by=JONAS, after=3 * MINUTE)
    care.reply("hello", by=JONAS, after=2 * MINUTE)
    care.say("it_is", after=4 * MINUTE)
    care.reply("technician", by=JONAS, after=3 * MINUTE)


SCENES: tuple[Scene, ...] = (
    Scene(language="es", minutes_ago=26 * 60, story=asks, care=needs_template),
    Scene(language="pt", minutes_ago=24, story=asks, care=waits_for_ana),
    Scene(language="en", minutes_ago=45, story=asks, care=is_being_written),
    Scene(language="fr", minutes_ago=47, story=is_not_understood, care=waits_and_asks),
    Scene(language="de", minutes_ago=38, story=is_not_understood, care=is_with_jonas),
    Scene(language="de", minutes_ago=25, story=asks, care=waits),
    Scene(language="en", minutes_ago=17, story=asks_after_failure, care=waits),
    Scene(language="it", minutes_ago=11, story=is_not_understood, care=waits),
    Scene(language="en", minutes_ago=2, story=asks, care=waits),
)


def scenes(people: Sequence[Customer], seed: int) -> list[tuple[Scene, Tale, Care]]:
    """Each scene with what its contact and the agents do; the contacts are the first of *people* with its language."""
    random, free = Random(seed), list(people)  # noqa: S311 - the same stories each time, no secrets
    made = []
    for scene in SCENES:
        person = next((one for one in free if one.language == scene.language), free[0])
        free.remove(person)
        tale, care = Tale(random, person), Care(random, person, at_any_hour=True)
        scene.story(tale)
        scene.care(care)
        made.append((scene, tale, care))
    return made


def start_of(scene: Scene, tale: Tale, end: timedelta) -> timedelta:
    """When its contact begins, so that they are handed over in time before *end*."""
    lasts = sum(step.pause_seconds for step in tale.steps)
    return end - timedelta(minutes=scene.minutes_ago, seconds=lasts)
