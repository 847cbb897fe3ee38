"""Menus: a tree of what a contact may choose from (product, section 5.6).

A menu travels as JSON in the form that its YAML file has: :func:`menu_to_json` writes it,
:func:`menu_from_json` reads it strictly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dragoman.domain.definitions import DOTTED, MAX_TITLE, NAME, DefinitionError, DefinitionProblem, Form, Path, shown
from dragoman.domain.flows import Flows
from dragoman.domain.nouns import Registry

MAX_DEPTH = 5
MAX_NODES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillNode:
    """Starts a skill."""

    type: ClassVar[str] = "skill"
    node: str
    titles: Mapping[str, str]
    skill: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowNode:
    """Starts a flow."""

    type: ClassVar[str] = "flow"
    node: str
    titles: Mapping[str, str]
    flow: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoNode:
    """Says something and stays where it is."""

    type: ClassVar[str] = "info"
    node: str
    titles: Mapping[str, str]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffNode:
    """Hands over to a person; *reason* is read by agents, the texts by the contact."""

    type: ClassVar[str] = "handoff"
    node: str
    titles: Mapping[str, str]
    reason: str
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmenuNode:
    """Opens more choices; its texts stand above them, or else its title."""

    type: ClassVar[str] = "submenu"
    node: str
    titles: Mapping[str, str]
    nodes: tuple[Node, ...]
    texts: Mapping[str, str] = field(default_factory=dict)


Node = SubmenuNode | InfoNode | SkillNode | FlowNode | HandoffNode
NODE_TYPES: dict[str, type[Node]] = {n.type: n for n in (SubmenuNode, InfoNode, SkillNode, FlowNode, HandoffNode)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Menu:
    """Is one version of a menu; its texts stand above the first choices. Node names are unique in it."""

    name: str
    texts: Mapping[str, str]
    nodes: tuple[Node, ...]
    version: int = 0

    def find(self, name: str) -> tuple[Node | None, SubmenuNode | None]:
        """The node of that name and the submenu that it is in; no submenu for those at the top."""
        return next(((node, parent) for node, parent in iterate_nodes(self.nodes) if node.node == name), (None, None))


def iterate_nodes(
    nodes: tuple[Node, ...], parent: SubmenuNode | None = None
) -> Iterator[tuple[Node, SubmenuNode | None]]:
    """Every node of the tree with the submenu that it is in."""
    for node in nodes:
        yield node, parent
        if isinstance(node, SubmenuNode):
            yield from iterate_nodes(node.nodes, node)


def menu_to_json(menu: Menu) -> dict[str, Any]:
    """Write the definition of *menu*, without its version."""
    return {"menu": menu.name, "text": dict(menu.texts), "nodes": [_to_json(node) for node in menu.nodes]}


def _to_json(node: Node) -> dict[str, Any]:
    head = {"node": node.node, "type": node.type, "title": dict(node.titles)}
    match node:
        case SkillNode(skill=skill):
            return {**head, "skill": skill}
        case FlowNode(flow=flow):
            return {**head, "flow": flow}
        case InfoNode(texts=texts):
            return {**head, "text": dict(texts)}
        case HandoffNode(reason=reason, texts=texts):
            return {**head, "reason": reason, **({"text": dict(texts)} if texts else {})}
        case SubmenuNode(nodes=nodes, texts=texts):
            return {**head, **({"text": dict(texts)} if texts else {}), "nodes": [_to_json(n) for n in nodes]}


_KEYS: Mapping[str, tuple[str, ...]] = {
    "submenu": ("text", "nodes"),
    "info": ("text",),
    "skill": ("skill",),
    "flow": ("flow",),
    "handoff": ("reason", "text"),
}


def menu_from_json(value: object, *, version: int = 0) -> Menu:
    """The menu that *value* defines. Raises DefinitionError with all of its faults."""
    problems: list[DefinitionProblem] = []
    form = Form(value, (), problems, what="a menu", keys=("menu", "text", "nodes"))
    reader = _NodeReader(problems)
    menu = Menu(
        name=form.text("menu", hint="its name in lower case, such as main", shape=NAME),
        texts=form.texts("text"),
        nodes=tuple(reader.nodes(form, depth=1)),
        version=version,
    )
    if problems:
        raise DefinitionError(problems)
    return menu


class _NodeReader:
    """Reads the nodes of one menu; knows the names that are taken."""

    def __init__(self, problems: list[DefinitionProblem]) -> None:
        self._problems = problems
        self._names: set[str] = set()

    def nodes(self, form: Form, depth: int) -> Iterator[Node]:
        """The nodes that stand in *form*."""
        for item, path in form.items("nodes", hint="a list of nodes", most=MAX_NODES):
            node = self._node(item, path, depth)
            if node is not None:
                yield node

    def _node(self, item: object, path: Path, depth: int) -> Node | None:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if not isinstance(kind, str) or kind not in NODE_TYPES:
            text = f"a node has a type, one of {', '.join(NODE_TYPES)}, not {shown(kind)}"
            self._problems.append(DefinitionProblem((*path, "type") if kind is not None else path, text))
            return None
        form = Form(item, path, self._problems, what=f"a {kind} node", keys=("node", "type", "title", *_KEYS[kind]))
        name = form.text("node", hint="its name in lower case, such as opening_hours", shape=NAME)
        if name in self._names:
            form.fault(f"there are two nodes called {name}; names must differ in the whole menu", "node")
        self._names.add(name)
        if len(self._names) > MAX_NODES:
            form.fault(f"a menu has at most {MAX_NODES} nodes")
        titles = form.texts("title", limit=MAX_TITLE, one_line=True)
        return self._of_kind(form, kind, name, titles, depth)

    def _of_kind(self, form: Form, kind: str, name: str, titles: Mapping[str, str], depth: int) -> Node | None:
        match kind:
            case "skill":
                skill = form.text("skill", hint="the skill that it starts, such as orders.status", shape=DOTTED)
                return SkillNode(node=name, titles=titles, skill=skill)
            case "flow":
                flow = form.text("flow", hint="the flow that it starts, such as orders.send_back", shape=DOTTED)
                return FlowNode(node=name, titles=titles, flow=flow)
            case "info":
                return InfoNode(node=name, titles=titles, texts=form.texts("text"))
            case "handoff":
                reason = form.text("reason", hint="why a person takes over, for the agent to read", limit=300)
                return HandoffNode(node=name, titles=titles, reason=reason, texts=form.texts("text", required=False))
        if depth >= MAX_DEPTH:
            form.fault(f"submenus stand in each other more than {MAX_DEPTH} deep")
            return None
        texts = form.texts("text", required=False)
        return SubmenuNode(node=name, titles=titles, texts=texts, nodes=tuple(self.nodes(form, depth + 1)))


def reference_problems(menu: Menu, registry: Registry, flows: Flows) -> list[DefinitionProblem]:
    """Find the skills and flows that nobody registered or imported."""
    return list(_unknown(menu.nodes, (), registry, flows))


def _unknown(nodes: tuple[Node, ...], path: Path, registry: Registry, flows: Flows) -> Iterator[DefinitionProblem]:
    for number, node in enumerate(nodes):
        at = (*path, "nodes", number)
        match node:
            case SkillNode(skill=skill) if skill not in registry:
                yield DefinitionProblem((*at, "skill"), f"there is no skill {skill}; registered are {_names(registry)}")
            case FlowNode(flow=flow) if flow not in flows:
                yield DefinitionProblem((*at, "flow"), f"there is no flow {flow}; imported are {_names(flows)}")
            case SubmenuNode(nodes=below):
                yield from _unknown(below, at, registry, flows)


def _names(known: Mapping[str, object]) -> str:
    return ", ".join(sorted(known)) or "none"
