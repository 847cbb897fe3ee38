"""Questions of the last week that no skill of the shop answers: each is asked by several people, in their own words."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from dragoman_shop.customers import Customer
from dragoman_shop.steps import Step, text

QUESTIONS: tuple[tuple[str, ...], ...] = (
    (
        "Can I get a gift card?",
        "can I buy a gift card from you",
        "gift cards??",
    ),
    (
        "Is there a student discount?",
        "do students get a discount",
        "student discount, is there one?",
    ),
    (
        "Can somebody install the washing machine for me?",
        "do you install washing machines as well",
        "who installs washing machines",
    ),
)
"""What is asked; the first of each is how it is asked most plainly."""

NAMES = (
    "Imogen Farrell", "Callum Pryce", "Yasmin Haddad", "Rory Sinclair", "Freya Lindqvist", "Dominic Asante",
    "Bethan Morris", "Kieran Walsh", "Lottie Ashworth",
)  # fmt: skip


def unserved_ones(end: timedelta) -> Iterator[tuple[Customer, timedelta, tuple[Step, ...]]]:
    """Each person with when they begin and what they write; the questions are asked in turn, a day or less apart."""
    asked = [(place, said) for place in range(3) for of in QUESTIONS for said in of[place : place + 1]]
    for number, (_, said) in enumerate(asked):
        person = Customer(f"+44770090070{number}", NAMES[number], "en")
        begin = end - timedelta(days=5.5) + timedelta(hours=13 * number)
        yield person, begin, (Step(0.0, text(said)),)
