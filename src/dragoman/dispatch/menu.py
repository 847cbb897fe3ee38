"""What a contact may choose from, and how a choice is read back.

The ids of options say all that is needed to act on them later: a tap on an old menu works as long as what it names
is there.
"""

from __future__ import annotations

from dragoman.dispatch import words
from dragoman.dispatch.texts import pick, sentence
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Option, Options, Request
from dragoman.domain.menus import FlowNode, Node, SkillNode, SubmenuNode
from dragoman.domain.nouns import Awaiting, Parameter, ParameterKind
from dragoman.domain.plain_text import cut_to_units

HUMAN = "agent"
SKILL = "skill:"
FLOW = "flow:"
NODE = "menu:"
ANSWER = "answer:"

# The shortest limits among the channels' lists: WhatsApp shows ten rows of 24 characters.
MAX_OPTIONS = 10
MAX_TITLE = 24


def _title(title: str) -> str:
    return cut_to_units(title, MAX_TITLE)


def locales(inputs: Inputs) -> tuple[str, str]:
    """List the languages to speak, best first."""
    return inputs.contact.locale, inputs.policy.default_locale


def topics(inputs: Inputs, body: str) -> Options:
    """The tenant's default menu under *body*; without one, the policy's topics that can be had, and a person."""
    if inputs.menu is not None and any(_can_be_had(inputs, node) for node in inputs.menu.nodes):
        return page(inputs, None, 1, body)
    offered = [
        Option(id=SKILL + item.skill, title=_title(pick(item.titles, *locales(inputs)) or item.skill))
        for item in inputs.policy.menu
        if item.skill in inputs.registry and not inputs.registry[item.skill].retired
    ]
    person = Option(id=HUMAN, title=sentence("human_option", *locales(inputs)))
    return Options(
        body=body,
        options=(*offered[: MAX_OPTIONS - 1], person),
        button=sentence("menu_button", *locales(inputs)),
    )


def page(inputs: Inputs, submenu: SubmenuNode | None, number: int, body: str) -> Options:
    """A page of *submenu*, or of the menu's top, under *body*; a number beyond the last page shows the last one."""
    pages = _pages(inputs, submenu)
    number = max(1, min(number, len(pages)))
    place = submenu.node if submenu else ""
    options = [
        Option(id=NODE + node.node, title=_title(pick(node.titles, *locales(inputs)) or node.node))
        for node in pages[number - 1]
    ]
    if number < len(pages):
        options.append(Option(id=f"{NODE}{place}:{number + 1}", title=sentence("menu_more", *locales(inputs))))
    if number > 1:
        options.append(Option(id=f"{NODE}{place}:{number - 1}", title=sentence("menu_back", *locales(inputs))))
    elif submenu is not None and inputs.menu is not None:
        _, parent = inputs.menu.find(place)
        above = f"{parent.node if parent else ''}:{page_of(inputs, submenu, parent)}"
        options.append(Option(id=NODE + above, title=sentence("menu_back", *locales(inputs))))
    return Options(body=body, options=tuple(options), button=sentence("menu_button", *locales(inputs)))


def page_of(inputs: Inputs, node: Node, parent: SubmenuNode | None) -> int:
    """On which page of *parent* the node stands; the first where it is not shown."""
    pages = _pages(inputs, parent)
    return next((number for number, shown in enumerate(pages, start=1) if node in shown), 1)


def _pages(inputs: Inputs, submenu: SubmenuNode | None) -> list[list[Node]]:
    """The nodes that can be had, as many to a page as leave room for the ways on and back."""
    nodes = submenu.nodes if submenu else inputs.menu.nodes if inputs.menu else ()
    left = [node for node in nodes if _can_be_had(inputs, node)]
    pages: list[list[Node]] = []
    while True:
        room = MAX_OPTIONS - (1 if submenu or pages else 0)
        if len(left) <= room:
            return [*pages, left]
        pages.append(left[: room - 1])
        left = left[room - 1 :]


def _can_be_had(inputs: Inputs, node: Node) -> bool:
    match node:
        case SkillNode(skill=skill):
            return skill in inputs.registry and not inputs.registry[skill].retired
        case FlowNode(flow=flow):
            return flow in inputs.flows and not inputs.flows[flow].retired
        case SubmenuNode(nodes=nodes):
            return any(_can_be_had(inputs, below) for below in nodes)
        case _:
            return True


def menu_position(option: str) -> tuple[str, int]:
    """The node and the page that an option of the menu leads to; an empty name is the menu's top."""
    name, _, number = option.removeprefix(NODE).partition(":")
    return name, int(number) if number.isdecimal() and len(number) < 4 else 1


def answers(inputs: Inputs, parameter: Parameter, body: str) -> Options | Request | None:
    """*body* with what answers it in one tap: the values of *parameter*, or a place; None where it must be written."""
    if parameter.kind is ParameterKind.LOCATION:
        return Request(body=body, wants="location")
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
        options=tuple(Option(id=ANSWER + value, title=_title(title)) for value, title in titled),
        button=sentence("menu_button", *locales(inputs)),
    )


def typed(awaiting: Awaiting, text: str) -> str | None:
    """The id of the option that *text* names by its number or its label; None if it names none."""
    offered: list[list[str]] = awaiting.collected.get("offered", [])
    said = words.tokens(text)
    if not said:
        return None
    for number, (option, title) in enumerate(offered, start=1):
        if said in ((str(number),), words.tokens(title)):
            return option
    return None


def remembered(options: Options) -> dict[str, list[list[str]]]:
    """What :func:`typed` needs later: the options as they were offered, whatever the menu is by then."""
    return {"offered": [[option.id, option.title] for option in options.options]}
