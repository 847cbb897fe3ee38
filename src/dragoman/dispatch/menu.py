"""What a contact may choose from, and how a choice is read back."""

from __future__ import annotations

from dragoman.dispatch import words
from dragoman.dispatch.texts import pick, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Option, Options
from dragoman.domain.nouns import Awaiting, Parameter, ParameterKind

HUMAN = "agent"
SKILL = "skill:"
ANSWER = "answer:"

# The shortest limits among the channels' lists: WhatsApp shows ten rows of 24 characters.
MAX_OPTIONS = 10
MAX_TITLE = 24


def locales(inputs: Inputs) -> tuple[str, str]:
    """The languages to speak, best first."""
    return inputs.contact.locale, inputs.policy.default_locale


def topics(inputs: Inputs, body: str) -> Options:
    """The default menu under *body*: the tenant's topics that can be had, and a person."""
    offered = [
        Option(id=SKILL + item.skill, title=(pick(item.titles, *locales(inputs)) or item.skill)[:MAX_TITLE])
        for item in inputs.policy.menu
        if item.skill in inputs.registry and not inputs.registry[item.skill].retired
    ]
    person = Option(id=HUMAN, title=sentence("human_option", *locales(inputs)))
    return Options(
        body=body,
        options=(*offered[: MAX_OPTIONS - 1], person),
        button=sentence("menu_button", *locales(inputs)),
    )


def answers(inputs: Inputs, parameter: Parameter, body: str) -> Options | None:
    """The answers that *parameter* allows, to pick from under *body*; None where it cannot be picked."""
    if parameter.kind is ParameterKind.BOOLEAN:
        titled = [(value, sentence(value, *locales(inputs))) for value in ("yes", "no")]
    elif parameter.kind is ParameterKind.CHOICE and len(parameter.choices) <= MAX_OPTIONS:
        titled = [
            (choice, pick(parameter.titles.get(choice, {}), *locales(inputs)) or choice.replace("_", " "))
            for choice in parameter.choices
        ]
    else:
        return None
    return Options(
        body=body,
        options=tuple(Option(id=ANSWER + value, title=title[:MAX_TITLE]) for value, title in titled),
        button=sentence("menu_button", *locales(inputs)),
    )


def typed(awaiting: Awaiting, text: str) -> str | None:
    """The id of the option that *text* names by its number or its label; None if it names none."""
    offered: list[list[str]] = awaiting.collected.get("offered", [])
    said = words.tokens(text)
    for number, (option, title) in enumerate(offered, start=1):
        if said in ((str(number),), words.tokens(title)):
            return option
    return None


def remembered(options: Options) -> dict[str, list[list[str]]]:
    """What :func:`typed` needs later: the options as they were offered, whatever the menu is by then."""
    return {"offered": [[option.id, option.title] for option in options.options]}
