"""What picking a node of the menu does, where it starts neither a skill nor a flow."""

from __future__ import annotations

from dragoman.dispatch import menu
from dragoman.dispatch.draft import Draft
from dragoman.dispatch.run_flow import Handover
from dragoman.dispatch.texts import pick
from dragoman.dispatch.turn import Inputs
from dragoman.domain.content import Options, Text
from dragoman.domain.menus import HandoffNode, InfoNode, SubmenuNode
from dragoman.domain.nouns import Awaiting, AwaitingKind


def pick_node(inputs: Inputs, draft: Draft, name: str, page: int) -> Handover | None:
    """Open the submenu, say the information and offer its neighbours again, or ask for a handover.

    An empty *name* opens the menu's top. Raises ValueError where there is no menu, or no such node that says anything.
    """
    if inputs.menu is None:
        raise ValueError(f"there is no menu with a node {name!r}")
    locales = menu.locales(inputs)
    node, parent = inputs.menu.find(name)
    match node:
        case None if not name:
            options = menu.page(inputs, None, page, pick(inputs.menu.texts, *locales) or inputs.menu.name)
            _offer(draft, options, "opened the menu")
        case SubmenuNode():
            body = pick(node.texts, *locales) or pick(node.titles, *locales) or name
            _offer(draft, menu.page(inputs, node, page, body), f"opened the menu at {name}")
        case InfoNode():
            body = pick(node.texts, *locales) or name
            here = menu.page_of(inputs, node, parent)
            _offer(draft, menu.page(inputs, parent, here, body), f"gave the information {name}")
        case HandoffNode():
            return Handover(f"the menu's {name}: {node.reason}", pick(node.texts, *locales) or "")
        case _:
            raise ValueError(f"the menu has no node {name!r} that says anything")
    return None


def _offer(draft: Draft, options: Options, reason: str) -> None:
    if not options.options:
        # All that the menu had was retired since it was offered.
        draft.say(Text(options.body))
        draft.keep(f"{reason}, which has nothing to pick any more")
        return
    draft.say(options)
    awaiting = Awaiting(kind=AwaitingKind.MENU, collected=menu.remembered(options))
    draft.await_user(awaiting, "the menu was offered")
    draft.keep(reason)
