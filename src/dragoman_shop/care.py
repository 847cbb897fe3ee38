"""How agents see to the conversations that were handed over: each way writes what both sides do from then on."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from dragoman_shop.agents import AGENTS, Act, Deed, ShopAgent, answer, speakers
from dragoman_shop.customers import Customer
from dragoman_shop.steps import Step, text
from dragoman_shop.utterances import SAID

MINUTE = 60.0
HOUR = 60 * MINUTE

NOTES = (
    "Third complaint about this model this month. I have told the workshop.",
    "Bought in the shop, the receipt is in the customer file.",
    "Wants to be called in the morning only.",
)


class Care:
    """What is done for one contact after the bot has handed them over, while it is being written."""

    def __init__(self, random: Random, person: Customer, *, at_any_hour: bool = False) -> None:
        self.random = random
        self.person = person
        self.at_any_hour = at_any_hour
        self.order = f"VF-{random.randrange(10_000, 100_000)}"
        self.agent = random.choice(speakers(person.language))
        self.other = random.choice([agent for agent in AGENTS if agent is not self.agent])
        self.steps: list[Step | Act] = []

    def do(
        self,
        deed: Deed,
        words: str = "",
        *,
        by: ShopAgent | None = None,
        to: ShopAgent | None = None,
        after: float | None = None,
        shared: bool = False,
    ) -> None:
        """Let an agent do something, some minutes or *after* seconds later."""
        pause = self.random.uniform(1, 9) * MINUTE if after is None else after
        self.steps.append(
            Act(
                pause_seconds=round(pause, 1),
                deed=deed,
                agent=by or self.agent,
                words=words,
                to=to,
                at_any_hour=self.at_any_hour,
                shared=shared,
            )
        )

    def reply(self, subject: str, *, by: ShopAgent | None = None, after: float | None = None) -> None:
        """Let an agent write to the contact, in their language."""
        agent = by or self.agent
        self.do("answer", answer(subject, agent, self.person.name, self.person.language), by=by, after=after)

    def say(self, subject: str, *, after: float | None = None) -> None:
        """Let the contact write."""
        pause = self.random.uniform(0.5, 8) * MINUTE if after is None else after
        said = self.random.choice(SAID[subject][self.person.language]).format(order=self.order)
        self.steps.append(Step(round(pause, 1), text(said)))


def is_answered(care: Care) -> None:
    """Somebody claims it, asks, and puts it right."""
    care.do("claim")
    care.reply("hello")
    care.reply("which_order")
    care.say("it_is")
    care.reply(care.random.choice(("technician", "replacement")))
    care.say("thanks")
    care.reply("bye")
    care.do("resolve", "Solved")


def is_answered_at_once(care: Care) -> None:
    """One answer is enough."""
    care.do("claim")
    care.reply(care.random.choice(("technician", "replacement")))
    care.say("fine")
    care.do("resolve", "Question answered")


def is_noted(care: Care) -> None:
    """Leaves something for the colleagues to know."""
    care.do("claim")
    care.reply("hello")
    care.do("note", care.random.choice(NOTES))
    care.reply("technician")
    care.say("thanks")
    care.do("resolve", "Solved")


def is_taken_over(care: Care) -> None:
    """Somebody who speaks the language steps in."""
    care.do("claim", by=care.other)
    care.do("note", "I do not speak the language well enough; can somebody else?", by=care.other)
    care.do("take_over", f"I speak the language better than {care.other.name}")
    care.reply("hello")
    care.reply("replacement")
    care.say("thanks")
    care.do("resolve", "Solved")


def is_assigned(care: Care) -> None:
    """Is handed to the colleague who knows about it."""
    care.do("claim", by=care.other)
    care.do("assign", "Yours: you know this customer", by=care.other, to=care.agent)
    care.reply("hello")
    care.reply("technician")
    care.say("fine")
    care.do("resolve", "Solved")


def is_returned(care: Care) -> None:
    """A person settles what the bot could not, and the bot goes on."""
    care.do("claim")
    care.reply("hello")
    care.reply("assistant")
    care.do("return_to_bot", "the rest is about the delivery")
    care.say("status_of")
    care.say("thanks")


def is_reminded(care: Care) -> None:
    """The contact does not answer for a day: only a template may be sent then, and it helps."""
    care.do("claim")
    care.reply("hello")
    care.reply("which_order")
    care.do("template", after=25 * HOUR)
    care.say("it_is")
    care.reply("replacement")
    care.say("thanks")
    care.do("resolve", "Solved")


def is_given_back(care: Care) -> None:
    """Goes back to the queue at the end of a shift, and somebody else takes it."""
    care.do("claim", by=care.other)
    care.do("give_back", "My shift ends", by=care.other)
    care.do("claim")
    care.reply("hello")
    care.reply("technician")
    care.say("thanks")
    care.do("resolve", "Solved")


def is_left(care: Care) -> None:
    """The contact never comes back: the human part ends by itself after the tenant's time."""
    care.do("claim")
    care.reply("hello")
    care.reply("which_order")


def falls_silent(care: Care) -> None:
    """The contact does not answer, and the agent ends it after some hours."""
    care.do("claim")
    care.reply("which_order")
    care.do("resolve", "The contact did not answer", after=3 * HOUR)


Way = Callable[[Care], None]

WAYS: tuple[Way, ...] = (
    is_answered,
    is_taken_over,
    is_answered_at_once,
    is_returned,
    is_noted,
    is_reminded,
    is_answered,
    is_assigned,
    is_given_back,
    is_left,
    is_answered_at_once,
    falls_silent,
    is_answered,
    is_noted,
    is_answered,
    is_answered_at_once,
)
"""How the conversations that were handed over go on, one after the other; then it is answered and noted in turn."""

USUAL: tuple[Way, ...] = (is_answered, is_noted, is_answered_at_once, is_answered, is_assigned, falls_silent)


def way_of(number: int) -> Way:
    """Say how the conversation goes on that was the *number*-th to be handed over."""
    return WAYS[number] if number < len(WAYS) else USUAL[number % len(USUAL)]
