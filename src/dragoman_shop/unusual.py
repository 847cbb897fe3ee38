"""Conversations that go another way than most: one story each, by people who appear in no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

from dragoman_shop import films, recordings
from dragoman_shop.customers import Customer
from dragoman_shop.papers import invoice
from dragoman_shop.pictures import parcel, winking
from dragoman_shop.steps import (
    TRADE,
    SentAttachment,
    Step,
    answer_to_last,
    contact_card,
    document,
    image,
    location,
    number_change,
    reaction,
    recording,
    sticker,
    text,
    video,
    voice_note,
)
from dragoman_shop.stories import Tale

MINUTE, HOUR = 60.0, 3600.0
DAY_HOURS = 24.0
BLANK = "\u3164"
"""A name that nobody sees: people write it where a phone wants one."""

GROUP_ID = "Y2FwaV9ncm91cDo0Nw"
GROUP_NAME = "Kitchen at Mill Lane 4"

BRAZILIAN_USER_ID = "BR.47110000000000000009"
"""One person has one user id, in whichever spelling their number comes."""


SUNDAY, TUESDAY_TO_SUNDAY_S = 6, 5 * DAY_HOURS * HOUR
ARRIVES = time(13, 41)
"""When what was written on a Tuesday comes, on a Sunday."""

PASTED_ORDERS = 24
"""More than a contact may write in a minute."""

BROKEN_DEVICES = 12
"""More than a session's budget pays for."""


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
    """Writes in the mountains on a Tuesday; it arrives on Sunday, too late to be answered by free text."""
    send_after(
        tale, text("Wo ist meine Bestellung VF-40771? Bin bis Sonntag auf der Hütte."),
        late_seconds=TUESDAY_TO_SUNDAY_S + 4.65 * HOUR,
    )  # fmt: skip
    send_after(tale, text("Wieder im Tal! Wo ist meine Bestellung VF-40771?"), 6 * MINUTE)
    tale.say("thanks")


def lives_abroad(tale: Tale) -> None:
    """Has an Austrian number and no German: the greeting is answered in German, the first sentence in English."""
    send_after(tale, text("Hi"))
    send_after(tale, text("Could you tell me where my order VF-50917 is, please?"))
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


def sends_all_kinds_of_things(tale: Tale) -> None:
    """Sends whatever a phone can send, and says in between what it is about."""
    paper = invoice("VF-70215", ("Washing machine Aqua 8", "449,00 EUR"))
    things: tuple[tuple[dict[str, Any], SentAttachment | None], ...] = (
        (image("This is how the parcel came"), SentAttachment("image/png", parcel(17))),
        (video("And this is how the drum turns"), SentAttachment(films.MIME_TYPE, films.turning_drum())),
        (recording(), SentAttachment(recordings.MIME_TYPE, recordings.hummed(4, seconds=3))),
        (voice_note(), SentAttachment(recordings.MIME_TYPE, recordings.hummed(2))),
        (document("Invoice VF-70215.pdf"), SentAttachment("application/pdf", paper)),
        (sticker(), SentAttachment("image/webp", winking())),
        (location(51.5072, -0.1276, "Home"), None),
        (contact_card("Margot Ellery", "+44 7700 900945"), None),
    )
    for place, (message, attachment) in enumerate(things):
        if place % 2 == 0:
            # The bot hands over what it does not understand three times in a row.
            send_after(tale, text("Where is my order VF-70215?"), MINUTE)
        send_after(tale, message, 20.0, attachment=attachment)
    tale.say("thanks")


def pastes_a_list(tale: Tale) -> None:
    """Pastes the numbers of a whole list of orders, one message each: more than a minute takes."""
    for number in range(PASTED_ORDERS):
        send_after(tale, text(f"Wo ist meine Bestellung VF-{61200 + 7 * number}?"), 0.4)


def writes_to_both_numbers(tale: Tale) -> None:
    """Writes to the number for trade customers while the other one still talks with them."""
    send_after(tale, text("Opening hours please"))
    send_after(tale, text("Opening hours of the trade counter please"), MINUTE, number=TRADE)


def orders_for_a_building(tale: Tale) -> None:
    """Orders as a trade customer, on the number for those."""
    send_after(tale, text("Where is my order VF-88120?"), number=TRADE)
    send_after(tale, text("Is the induction hob in stock?"), 2 * MINUTE, number=TRADE)


def reports_a_whole_building(tale: Tale) -> None:
    """Reports one broken device after another, until the session's budget is used up."""
    devices = ("fridge", "oven", "washing machine", "dishwasher", "dryer", "hob", "kettle", "freezer", "toaster")
    for place in range(BROKEN_DEVICES):
        device = devices[place % len(devices)]
        send_after(tale, text("I want to report a defect"), MINUTE)
        send_after(tale, text(f"The {device} in flat {place + 1} will not turn on any more"), 30.0)


def loses_the_worker(tale: Tale) -> None:
    """Asks, and the worker is stopped while it looks: nobody knows what became of it, so it is not done twice."""
    send_after(tale, text("Wo ist meine Bestellung VF-40932?"), is_worker_stopped=True)


def wrote_before_retention(tale: Tale) -> None:
    """Wrote so long ago that retention has taken what was said."""
    send_after(tale, text("Where is my order VF-10077?"))
    tale.say("thanks")


VISITOR = Customer("+447700900980", "Yusuf Aksoy", "en")
"""Who writes whenever the demo's server starts, so that a conversation is in progress."""

GREETING = "Hello"

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
    Unusual(Customer("+447700900938", "Margot Ellery", "en"), 5.6, sends_all_kinds_of_things),
    Unusual(Customer("+4366099911903", "Henrike Oltmanns", "de"), 7.4, pastes_a_list),
    Unusual(Customer("+447700900952", "Nora Lindqvist", "en"), 8.1, writes_to_both_numbers),
    Unusual(Customer("+447700900959", "Dominic Harrow", "en"), 9.3, orders_for_a_building),
    Unusual(Customer("+447700900966", "Gareth Prosser", "en"), 10.2, reports_a_whole_building),
    Unusual(Customer("+4366099911910", "Marlene Egger", "de"), 11.7, loses_the_worker),
    Unusual(Customer("+447700900973", "Agnes Thornbury", "en"), 98.5 * DAY_HOURS, wrote_before_retention),
    Unusual(Customer("+4366099911924", "Fiona Murray", "en"), 6.2, lives_abroad),
)


def stories_told(seed: int, begin: datetime, until: datetime) -> list[tuple[Customer, timedelta, tuple[Step, ...]]]:
    """Who tells each story, how long after *begin* it begins if the period ends at *until*, and its steps."""
    random, found = Random(seed), []  # noqa: S311 - the same stories each time, no secrets
    for unusual in UNUSUAL:
        tale = Tale(random, unusual.person)
        unusual.story(tale)
        starts = until - timedelta(hours=unusual.hours_ago)
        if unusual.story is was_without_a_network:
            starts = latest_sunday(until)
        found.append((unusual.person, starts - begin, tuple(tale.steps)))
    return found


def latest_sunday(until: datetime) -> datetime:
    """The last Sunday before *until* on which the message that was late had come."""
    day = until - timedelta(days=(until.weekday() - SUNDAY) % 7)
    found = datetime.combine(day.date(), ARRIVES, until.tzinfo)
    return found if found < until - timedelta(hours=1) else found - timedelta(days=7)
