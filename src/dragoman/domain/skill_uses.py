"""Finds what leads to a skill: flows that run it, menus that offer it, and what may be tapped in their messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from dragoman.domain.flows import Flow, SkillStep, flow_to_json
from dragoman.domain.menus import Menu, SkillNode, iterate_nodes
from dragoman.domain.nouns import Policy

CHOICE = "skill:"
"""What the id of something that starts a skill when it is tapped begins with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillUse:
    """One thing that leads to a skill: ``places`` are the steps or nodes of it that do."""

    kind: Literal["flow", "menu", "short menu"]
    name: str
    label: str
    places: tuple[str, ...] = ()
    retired: bool = False


def find_uses(skill: str, flows: Iterable[Flow], menus: Iterable[Menu], policy: Policy) -> list[SkillUse]:
    """What leads to *skill*, flows first; retired flows too, since those who are in them go on."""
    uses = [
        SkillUse(kind="flow", name=flow.name, label=flow.label, places=places, retired=flow.retired)
        for flow in flows
        if (places := tuple(_steps(skill, flow)))
    ]
    for menu in menus:
        nodes = tuple(
            node.node
            for node, _ in iterate_nodes(menu.nodes)
            if isinstance(node, SkillNode) and node.skill == skill
        )  # fmt: skip
        if nodes:
            uses.append(SkillUse(kind="menu", name=menu.name, label=menu.name, places=nodes))
    if any(item.skill == skill for item in policy.menu):
        uses.append(SkillUse(kind="short menu", name="policy", label="the tenant's policy"))
    return uses


def _steps(skill: str, flow: Flow) -> Iterator[str]:
    for step, written in zip(flow.steps, flow_to_json(flow)["steps"], strict=True):
        if (isinstance(step, SkillStep) and step.skill == skill) or _offers(written, CHOICE + skill):
            yield step.step


def _offers(value: Any, choice: str) -> bool:
    """Whether a step has something to tap that is called *choice*."""
    if isinstance(value, dict):
        return value.get("id") == choice or any(_offers(inner, choice) for inner in value.values())
    return isinstance(value, list) and any(_offers(inner, choice) for inner in value)
