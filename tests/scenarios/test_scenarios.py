"""Every scenario against its golden timeline.

After a change that is meant, rewrite them with ``--rewrite-golden`` and read the difference.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dragoman.domain.events import CATALOGUE
from dragoman.domain.flows import STEP_TYPES
from dragoman.domain.menus import NODE_TYPES, menu_from_json
from dragoman.domain.outcomes import Outcome
from dragoman.domain.states import State
from tests.scenarios.driver import HERE, definition, play

SCENARIOS = sorted(path for path in HERE.glob("*.yaml") if path.name != "registry.yaml")
GOLDEN = HERE / "golden"

NOT_YET = {
    # Not the core's: retention writes it.
    "retention.truncated",
    # Not the core's: automation writes them.
    "trigger.fired",
    "outbox.changed",
    # Administrators' doing.
    "hold.put",
    "hold.lifted",
    "contact.erased",
}


class _GoldenDumper(yaml.SafeDumper):
    """Keeps the order of fields and never writes references."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_timeline_is_the_golden_one(path: Path, rewrite_golden: bool) -> None:
    golden = GOLDEN / path.name
    played = play(path)
    if rewrite_golden:
        golden.write_text(yaml.dump(played, Dumper=_GoldenDumper, sort_keys=False, allow_unicode=True, width=110))
    assert golden.exists(), f"{golden.name} is missing; write it with --rewrite-golden and read it"
    assert played == yaml.safe_load(golden.read_text())


def test_no_golden_timeline_is_left_over() -> None:
    assert {path.name for path in GOLDEN.glob("*.yaml")} == {path.name for path in SCENARIOS}


def test_every_event_outcome_and_state_has_a_golden_scenario() -> None:
    shown: set[str] = set()
    for path in GOLDEN.glob("*.yaml"):
        for step in yaml.safe_load(path.read_text())["steps"]:
            for event in (event for turn in step["turns"] for event in turn["events"]):
                shown.add(event["type"])
                if event["type"] == "state.changed":
                    shown |= {event["payload"]["old"], event["payload"]["new"]}
                if event["type"] == "outcome.assigned":
                    shown.add(event["payload"]["outcome"])
    wanted = {*CATALOGUE, *Outcome, *State}
    assert wanted - shown == NOT_YET, "each needs a golden scenario, or a place in NOT_YET as long as it has none"


def test_every_step_type_of_flows_has_a_golden_scenario() -> None:
    shown = set()
    for path in GOLDEN.glob("flow_*.yaml"):
        for step in yaml.safe_load(path.read_text())["steps"]:
            events = [event for turn in step["turns"] for event in turn["events"]]
            shown |= {event["payload"]["step_type"] for event in events if event["type"] == "flow.step_entered"}
    assert shown == set(STEP_TYPES)


def test_every_node_type_of_menus_is_picked_in_a_golden_scenario() -> None:
    shown = set()
    for path in HERE.glob("menu_*.yaml"):
        script = yaml.safe_load(path.read_text())
        if "default_menu" in script:
            menu = menu_from_json(definition(script["default_menu"]))
            picked = [
                step["content"]["id"] for step in script["steps"] if step.get("content", {}).get("kind") == "choice"
            ]
            nodes = [menu.find(option.removeprefix("menu:"))[0] for option in picked]
            shown |= {node.type for node in nodes if node is not None}
    assert shown == set(NODE_TYPES)
