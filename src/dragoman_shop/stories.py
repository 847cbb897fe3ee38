"""How conversations with Voltfair go: each story writes the steps of one, as its contact lives them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from dragoman_shop import recordings
from dragoman_shop.customers import Customer
from dragoman_shop.menu import MENU
from dragoman_shop.orders import REASON, RESCHEDULE, SEND_BACK
from dragoman_shop.papers import invoice
from dragoman_shop.pictures import parcel, winking
from dragoman_shop.steps import (
    SentAttachment,
    Step,
    answer_to_last,
    contact_card,
    document,
    image,
    location,
    reaction,
    sticker,
    tap,
    text,
    unsupported,
    voice_note,
)
from dragoman_shop.stores import FIND
from dragoman_shop.utterances import SAID

PAY = {
    "en": "Pay an order",
    "de": "Bestellung bezahlen",
    "es": "Pagar un pedido",
    "fr": "Payer une commande",
    "pt": "Pagar um pedido",
    "it": "Pagare un ordine",
}

PLACES = ((51.5072, -0.1276, "Home"), (52.52, 13.405, "Work"), (40.4168, -3.7038, ""), (48.8566, 2.3522, "Home"))


class Tale:
    """The steps of one conversation while they are being written."""

    def __init__(self, random: Random, person: Customer) -> None:
        self.random = random
        self.person = person
        self.steps: list[Step] = []
        self.order = f"VF-{random.randrange(10_000, 100_000)}"

    def send(self, message: dict[str, Any], attachment: SentAttachment | None = None) -> None:
        """Send one more message, some seconds after the one before."""
        pause = self.random.choice((4, 7, 11, 15, 22, 34, 58, 95)) + self.random.random()
        self.steps.append(Step(round(pause, 1) if self.steps else 0.0, message, attachment))

    def write(self, body: str) -> None:
        """Write one more text."""
        self.send(text(body))

    def say(self, subject: str) -> None:
        """Say one of the sentences for *subject* in the contact's language."""
        self.write(self.random.choice(SAID[subject][self.person.language]).format(order=self.order))

    def pick(self, skill: str) -> None:
        """Tap a topic of the menu; or type its number, as some people do."""
        position = list(MENU).index(skill) + 1
        if self.random.random() < 0.2:
            self.write(str(position))
        else:
            self.send(tap(f"skill:{skill}", MENU[skill][self.person.language], offered=len(MENU) + 2))

    def maybe(self, chance: float, *subjects: str) -> None:
        """Say something on *subjects* in some of the conversations."""
        if self.random.random() < chance:
            for subject in subjects:
                self.say(subject)

    def photo(self, caption: str | None = None) -> None:
        """Send a photo of a parcel."""
        self.send(image(caption), SentAttachment("image/png", parcel(self.random.randrange(36))))


def status_at_once(tale: Tale) -> None:
    """Names the order right away."""
    tale.maybe(0.3, "greeting")
    tale.say("status_of")
    if tale.random.random() < 0.25:
        tale.send(reaction(tale.random.choice(("👍", "❤️", "🙏"))))
    tale.maybe(0.75, "thanks")


def status_asked(tale: Tale) -> None:
    """Has to look for the number first."""
    tale.say("status")
    tale.maybe(0.35, "lost_number")
    tale.say("it_is")
    tale.maybe(0.4, "hours")
    tale.maybe(0.7, "thanks")


def through_menu(tale: Tale) -> None:
    """Greets, picks a topic, answers, is done."""
    tale.say("greeting")
    tale.pick("orders.status")
    tale.say("it_is")
    tale.say("fine")


def sends_back(tale: Tale) -> None:
    """Return something, with a reason picked from the list and often a photo."""
    tale.say("return")
    tale.say("it_is")
    reason = tale.random.choice(tuple(REASON.titles))
    title = REASON.titles[reason][tale.person.language]
    if tale.random.random() < 0.7:
        tale.send(tap(f"answer:{reason}", title, offered=len(REASON.titles)))
    else:
        tale.write(title)
    tale.maybe(0.8, "thanks")


def is_guided(tale: Tale) -> None:
    """A return by the menu's assistant; what is damaged comes to a person."""
    tale.say("greeting")
    tale.send(tap("menu:returns", MENU["orders.return"][tale.person.language], offered=len(MENU) + 2))
    if tale.random.random() < 0.3:
        tale.write("2")
    tale.write("1")
    tale.say("it_is")
    reason = tale.random.choice([reason for reason in REASON.titles if reason != "damaged"])
    tale.send(tap(f"answer:{reason}", REASON.titles[reason][tale.person.language], offered=len(REASON.titles)))
    tale.maybe(0.7, "thanks")


def is_guided_to_person(tale: Tale) -> None:
    """The same with something that is broken."""
    tale.say("greeting")
    tale.send(tap("menu:returns", MENU["orders.return"][tale.person.language], offered=len(MENU) + 2))
    tale.write("1")
    tale.write(tale.order)
    tale.send(tap("answer:damaged", REASON.titles["damaged"][tale.person.language], offered=len(REASON.titles)))
    tale.maybe(0.6, "waiting")


def pays_by_menu(tale: Tale) -> None:
    """The menu's assistant gets half-way: the payment gateway is down."""
    tale.say("greeting")
    tale.send(tap("menu:pay", PAY[tale.person.language], offered=len(MENU) + 2))
    tale.say("it_is")
    tale.maybe(0.4, "thanks")


def moves_delivery(tale: Tale) -> None:
    """Ask for another day for the van."""
    tale.maybe(0.3, "greeting")
    tale.say("reschedule")
    tale.say("it_is")
    tale.say("a_day")
    tale.maybe(0.8, "thanks")


def moves_from_status(tale: Tale) -> None:
    """Sees the day of arrival and moves it with the button beside it, or sends the thing back."""
    tale.say("status_of")
    skill, title = tale.random.choice((("deliveries.reschedule", RESCHEDULE), ("orders.return", SEND_BACK)))
    tale.send(tap(f"skill:{skill}", title[tale.person.language], offered=1))
    tale.say("it_is")
    if skill == "orders.return":
        tale.send(tap("answer:other", REASON.titles["other"][tale.person.language], offered=4))
    else:
        tale.say("a_day")
    tale.maybe(0.6, "thanks")


def asks_hours(tale: Tale) -> None:
    """Ask for opening hours, then for the way there."""
    tale.say("hours")
    if tale.random.random() < 0.6:
        tale.send(tap("skill:stores.nearest", FIND[tale.person.language], offered=1))
        tale.say("city")
    tale.maybe(0.7, "thanks")


def finds_store(tale: Tale) -> None:
    """Asks for a shop and sends a location, which is not understood, before the city's name."""
    tale.say("nearest")
    if tale.random.random() < 0.4:
        tale.send(location(*tale.random.choice(PLACES)))
    tale.say("city")
    tale.maybe(0.6, "thanks")


def asks_stock(tale: Tale) -> None:
    """Looks for one or two products."""
    tale.say("stock")
    tale.say("product")
    if tale.random.random() < 0.3:
        tale.say("stock")
        tale.say("product")
    tale.maybe(0.65, "thanks")


def reports_defect(tale: Tale) -> None:
    """Opens a ticket; the service desk sometimes needs a second attempt."""
    tale.maybe(0.25, "greeting")
    tale.say("broken")
    tale.say("symptom")
    if tale.random.random() < 0.3:
        tale.send(reaction("🙏"))
    tale.maybe(0.7, "thanks")


def checks_warranty(tale: Tale) -> None:
    """Give a serial number, sometimes misread at first."""
    tale.say("warranty")
    letters = "".join(tale.random.choice("ABCDEFGHKLMNPRSTUVWXYZ") for _ in range(2))
    if tale.random.random() < 0.3:
        tale.write(f"{letters}{tale.random.randrange(10**5)}")
    tale.write(f"SN-{letters}{tale.random.randrange(10**5, 10**6)}")
    tale.maybe(0.7, "fine")


def asks_balance(tale: Tale) -> None:
    """Ask about money; only numbers that belong to a customer do."""
    tale.say("balance")
    tale.maybe(0.6, "invoices")
    tale.maybe(0.6, "thanks")


def cancels(tale: Tale) -> None:
    """Wants to cancel, for which nobody is confirmed well enough."""
    tale.say("cancel")
    tale.maybe(0.4, "status_of")
    tale.maybe(0.5, "thanks")


def pays(tale: Tale) -> None:
    """The payment gateway is down."""
    tale.say("pay")
    tale.say("it_is")
    tale.maybe(0.3, "pay")
    tale.maybe(0.3, "thanks")


def asks_points(tale: Tale) -> None:
    """The loyalty programme has ended."""
    tale.say("points")
    tale.maybe(0.5, "hours")
    tale.maybe(0.5, "thanks")


def finds_words(tale: Tale) -> None:
    """Is not understood, tries again, and then is."""
    tale.say("strange")
    if tale.random.random() < 0.5:
        tale.say("status_of")
    else:
        tale.pick("stores.hours")
    tale.maybe(0.7, "thanks")


def sends_things(tale: Tale) -> None:
    """Send everything but words at first."""
    kind = tale.random.randrange(7)
    if kind == 0:
        tale.photo()
    elif kind == 1:
        tale.send(voice_note(), SentAttachment(recordings.MIME_TYPE, recordings.hummed(tale.random.randrange(6))))
    elif kind == 2:
        tale.send(sticker(), SentAttachment("image/webp", winking()))
    elif kind == 3:
        tale.send(contact_card("Voltfair Service", "+44 20 7946 0018"))
    elif kind == 4:
        tale.send(unsupported())
    elif kind == 5:
        paper = invoice(tale.order, ("Mixer Turbo 900 W", "28,90 EUR"))
        tale.send(document("Rechnung-2026.pdf"), SentAttachment("application/pdf", paper))
    else:
        tale.send(location(*tale.random.choice(PLACES)))
    tale.say("return" if kind in (0, 5) else "status")
    tale.send(answer_to_last(text(tale.order)))
    if kind in (0, 5):
        tale.photo(tale.random.choice(SAID["look"][tale.person.language]))
        tale.send(tap("answer:damaged", REASON.titles["damaged"][tale.person.language], offered=4))
    tale.maybe(0.6, "thanks")


def says_nothing_more(tale: Tale) -> None:
    """Is asked something and does not come back."""
    tale.say(tale.random.choice(("status", "return", "stock", "broken", "greeting", "strange")))


def wanders(tale: Tale) -> None:
    """Ask one thing after another."""
    tale.say("greeting")
    tale.pick("stores.hours")
    tale.say("status_of")
    tale.say("stock")
    tale.say("product")
    tale.say("thanks")


def is_never_understood(tale: Tale) -> None:
    """Misses until a person takes over."""
    for _ in range(3):
        tale.say("strange")
    tale.maybe(0.6, "waiting")
    if tale.random.random() < 0.3:
        tale.photo()


def wants_person(tale: Tale) -> None:
    """Asks for a person, mostly after something went wrong."""
    tale.maybe(0.5, "pay", "it_is")
    tale.say("human")
    tale.maybe(0.6, "waiting")


Story = Callable[[Tale], None]

STORIES: tuple[tuple[Story, int], ...] = (
    (status_at_once, 34),
    (status_asked, 34),
    (through_menu, 20),
    (sends_back, 24),
    (is_guided, 14),
    (moves_delivery, 18),
    (moves_from_status, 14),
    (asks_hours, 22),
    (finds_store, 16),
    (asks_stock, 22),
    (reports_defect, 24),
    (checks_warranty, 12),
    (asks_balance, 26),
    (cancels, 9),
    (pays, 10),
    (pays_by_menu, 6),
    (asks_points, 14),
    (finds_words, 16),
    (sends_things, 32),
    (says_nothing_more, 20),
    (wanders, 10),
)
"""Stories that end by themselves, and how often each is told."""

ESCALATIONS: tuple[tuple[Story, int], ...] = (
    (is_never_understood, 4),
    (is_guided_to_person, 2),
    (wants_person, 5),
)
"""Stories that come to an agent of Voltfair; :mod:`dragoman_shop.care` says how they go on."""
