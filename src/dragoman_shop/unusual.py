"""Conversations of the last hours that go another way than most: one story each, by people who appear in no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import Any

from dragoman_shop.customers import Customer
from dragoman_shop.steps import Step, answer_to_last, number_change, reaction, text
from dragoman_shop.stories import Tale

MINUTE, HOUR = 60.0, 3600.0
BLANK = "\u3164"
"""A name that nobody sees: people write it where a phone wants one."""

GROUP_ID = "Y2FwaV9ncm91cDo0Nw"
GROUP_NAME = "Kitchen at Mill Lane 4"

BRAZILIAN_USER_ID = "BR.47110000000000000009"
"""One person has one user id, in whichever spelling their number comes."""


@dataclass(frozen=True, slots=True)
class Unusual:
    """One such conversation: *person*, when the first message comes, and the story."""

    person: Customer
    hours_ago: float
    story: Callable[[Tale], None]


def send_after(tale: Tale, message: dict[str, Any], after_seconds: float = 40.0, **played: Any) -> None:
    """Send *message* so long after the one before; *played* is what a :class:`Step` takes besides."""
    tale.steps.append(Step(after_seconds if tale.steps else 0.0, message, **played))


def is_answered_from_the_phone(tale: Tale) -> None:
    """Staff answer in the app of the shop's phone; the bot keeps out of what follows."""
    tale.say("hours")
    by_staff = {"from": None, "to": tale.person.phone.lstrip("+")}
    send_after(tale, text("Hello Hannah, this is Maria from the shop. I have put the kettle aside for you."),
            4 * MINUTE, sender=by_staff)  # fmt: skip
    send_after(tale, text("That is kind of you! I will come by at five."), 2 * MINUTE)
    send_after(tale, text("It is at the counter, under your name."), MINUTE, sender=by_staff)


def talks_in_a_group(tale: Tale) -> None:
    """Two people talk with the shop in a group that has a name."""
    named = {"groups": [{"group_id": GROUP_ID, "subject": GROUP_NAME, "type": "group_create"}]}
    send_after(tale, {}, event=("group_lifecycle_update", named))
    other = {"from": "447700900877", "name": "Owen Radcliffe"}
    in_group = {"group_id": GROUP_ID}
    send_after(tale, text("Owen and I are both in here now. When does the fitter come?") | in_group)
    send_after(
        tale, text("Thursday at nine would suit us. Does he bring the hob?") | in_group, 3 * MINUTE, sender=other
    )
    send_after(tale, text("Hob and oven, it is order VF-61840.") | in_group, MINUTE)


def was_without_a_network(tale: Tale) -> None:
    """Writes in the mountains; it arrives hours later."""
    send_after(
        tale, text("Wo ist meine Bestellung VF-40771? Bin bis heute Abend auf der Hütte."), late_seconds=3.4 * HOUR
    )
    tale.say("thanks")


def quotes_what_was_said_before(tale: Tale) -> None:
    """Comes back hours later, and quotes the answer from the conversation before."""
    send_after(tale, text("Where is my order VF-52290?"))
    send_after(
        tale, answer_to_last(text("You wrote this earlier. Where is my order VF-52291, my other one?")), 5 * HOUR
    )
    tale.say("thanks")


def reacts_after_the_end(tale: Tale) -> None:
    """Thanks with an emoji when the conversation has long ended; no new one begins."""
    tale.say("status_of")
    send_after(tale, reaction("❤️"), 4 * HOUR)


def hides_the_number(tale: Tale) -> None:
    """Is known by a username alone: WhatsApp tells neither name nor number."""
    hidden = {"from": None, "user_id": "AT.47110000000000000016", "username": "quiet.heron"}
    for said in ("Hello, do you have the Airfryer XL in stock?", "Thanks, bye!"):
        send_after(tale, text(said), sender=hidden)


def has_no_name(tale: Tale) -> None:
    """Has left the name empty but for a blank: they are shown by their number."""
    tale.say("stock")
    tale.say("product")


def tells_nothing(tale: Tale) -> None:
    """Has no name, no number and no username for us: an unknown contact."""
    send_after(tale, text("Is the shop open on Sunday?"), sender={"from": None, "user_id": "GB.47110000000000000023"})


def has_two_spellings(tale: Tale) -> None:
    """Is named with Brazil's ninth digit once, and without it the other time: one person, one conversation."""
    tale.say("status")
    with_it = {"user_id": BRAZILIAN_USER_ID}
    tale.steps[-1] = replace(tale.steps[-1], sender=with_it)
    area, number = tale.person.phone[1:5], tale.person.phone[6:]
    send_after(tale, text(tale.order), sender={**with_it, "from": area + number})


def changes_the_number(tale: Tale) -> None:
    """Gets another number, of which WhatsApp tells, and goes on writing from there."""
    new = "34699000905"
    send_after(tale, text("¿Dónde está mi pedido VF-33018?"))
    send_after(tale, number_change(tale.person.name, tale.person.phone, f"+{new}"), 3 * MINUTE)
    send_after(tale, text("¿Y mi pedido VF-33019?"), 2 * MINUTE, sender={"from": new})


UNUSUAL: tuple[Unusual, ...] = (
    Unusual(Customer("+447700900861", "Hannah Whitlock", "en"), 2.2, is_answered_from_the_phone),
    Unusual(Customer("+447700900868", "Nadia Radcliffe", "en"), 1.4, talks_in_a_group),
    Unusual(Customer("+4366099911875", "Leonhard Pichler", "de"), 0.9, was_without_a_network),
    Unusual(Customer("+447700900882", "Bridget Colley", "en"), 6.5, quotes_what_was_said_before),
    Unusual(Customer("+33639981889", "Solène Garrigue", "fr"), 5.1, reacts_after_the_end),
    Unusual(Customer("+4366099911896", BLANK, "en"), 1.8, hides_the_number),
    Unusual(Customer("+447700900917", BLANK, "en"), 2.4, has_no_name),
    Unusual(Customer("+447700900924", BLANK, "en"), 4.2, tells_nothing),
    Unusual(Customer("+5511998000903", "Thiago Peixoto", "pt"), 2.7, has_two_spellings),
    Unusual(Customer("+34699000910", "Rocío Cabrera", "es"), 3.3, changes_the_number),
)


def stories_told(seed: int, end: timedelta) -> list[tuple[Customer, timedelta, tuple[Step, ...]]]:
    """Who tells each story, when it begins if the period ends at *end*, and its steps."""
    random, found = Random(seed), []  # noqa: S311 - the same stories each time, no secrets
    for unusual in UNUSUAL:
        tale = Tale(random, unusual.person)
        unusual.story(tale)
        found.append((unusual.person, end - timedelta(hours=unusual.hours_ago), tuple(tale.steps)))
    return found
