"""Flows and menus through the signed webhook, the database and the Graph API; versions; the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from dragoman.cli import flows as cli
from dragoman.domain.errors import AlreadyTakenError, NotFoundError
from dragoman.domain.nouns import SkillSpec
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.catalogue.import_definitions import (
    FaultyFileError,
    flow_to_yaml,
    import_flow,
    import_menu,
    menu_to_yaml,
)
from dragoman.store.catalogue import flows, menus, skills
from dragoman.store.embedded import DatabaseURLs
from tests.harness import Harness
from tests.little_shop import Calls

FLOW = """\
flow: test.survey
label: Survey
keywords: [survey]
phrases: {en: [I would like to take part in the poll, let me answer your questionnaire]}
variables:
  - {variable: mood, type: choice, choices: [{value: good, titles: {en: Good}}, {value: bad, titles: {en: Bad}}]}
  - {variable: count, type: number}
steps:
  - {step: mood, type: prompt, variable: mood, text: {en: "How are you?"}, next: count}
  - {step: count, type: prompt, variable: count, text: {en: "How often?"}, next: run}
  - {step: run, type: skill, skill: test.answer, next: end}
  - {step: end, type: end, text: {en: "Version one, {count} times {mood}."}}
"""

MENU = """\
menu: main
text: {en: Pick}
nodes:
  - {node: survey, type: flow, title: {en: Survey}, flow: test.survey}
  - node: more
    type: submenu
    title: {en: More}
    nodes:
      - {node: slow, type: skill, title: {en: Slow}, skill: test.slow}
  - {node: person, type: handoff, title: {en: Person}, reason: picked}
"""


async def said_to(shop: Harness) -> list[str]:
    """What reached the contact, in order."""
    entries = await shop.journal()
    bodies = []
    for entry in entries:
        request = entry["request"]
        part = request["text"]["body"] if request["type"] == "text" else request["interactive"]["body"]["text"]
        bodies.append(part)
    return bodies


async def the_session(shop: Harness) -> dict[str, Any]:
    (row,) = await shop.rows("SELECT session_id, state, outcome, outcome_reason, intent, skill, flow FROM session")
    return row


async def tell(shop: Harness, text: str) -> None:
    await shop.say(text)
    await shop.settle()


async def test_a_flow_runs_from_the_webhook_to_its_end(shop: Harness, calls: Calls) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    await tell(shop, "a survey, please")
    row = await the_session(shop)
    assert (row["state"], row["outcome"], row["intent"]) == ("AWAITING_USER", "IN_PROGRESS", "test.survey")
    assert row["flow"] == {"flow": "test.survey", "version": 1, "step": "mood", "variables": {}, "done": 1}
    (entry,) = await shop.journal()
    assert entry["request"]["interactive"]["type"] == "button"
    await shop.send(
        {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": {"id": "answer:bad", "title": "Bad"}},
        }
    )
    await shop.settle()
    await tell(shop, "3 times")
    row = await the_session(shop)
    assert (row["state"], row["outcome"], row["skill"], row["flow"]) == ("ACTIVE", "SUCCESS", "test.answer", None)
    assert await said_to(shop) == ["How are you?", "How often?", "answer 1", "Version one, 3 times Bad."]
    timeline = await shop.timeline(row["session_id"])
    entered = [event["payload"]["step_type"] for event in timeline if event["type"] == "flow.step_entered"]
    assert entered == ["prompt", "prompt", "skill", "end"]
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_flow_is_found_by_its_phrases(shop: Harness) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    await tell(shop, "I want to take part in the poll")
    row = await the_session(shop)
    assert row["intent"] == "test.survey"
    timeline = await shop.timeline(row["session_id"])
    (ran,) = [event["payload"] for event in timeline if event["type"] == "classifier.ran"]
    assert ran["candidates"][0]["intent"] == "test.survey"


async def test_a_session_stays_on_the_version_that_it_began_with(shop: Harness) -> None:
    first = await import_flow(shop.runtime, shop.tenant_id, FLOW)
    same = await import_flow(shop.runtime, shop.tenant_id, "# a comment changes nothing\n" + FLOW)
    assert (first.version, first.changed, same.version, same.changed) == (1, True, 1, False)
    await tell(shop, "survey")
    changed = (
        FLOW.replace("Version one", "Version two")
        .replace('  - {step: count, type: prompt, variable: count, text: {en: "How often?"}, next: run}\n', "")
        .replace("next: count", "next: run")
    )
    second = await import_flow(shop.runtime, shop.tenant_id, changed)
    assert (second.version, second.changed) == (2, True)
    flows._versions.clear()  # as after a restart
    skills._parsed.clear()
    await tell(shop, "good")
    await tell(shop, "2")
    assert (await said_to(shop))[-1] == "Version one, 2 times Good."
    await tell(shop, "survey")
    await tell(shop, "good")
    assert (await said_to(shop))[-1] == "Version two, – times Good."
    row = await the_session(shop)
    versions = [
        event["payload"]["flow_version"]
        for event in await shop.timeline(row["session_id"])
        if event["type"] == "flow.completed"
    ]
    assert versions == [1, 2]


async def test_a_retired_flow_is_not_begun_but_finished(shop: Harness) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    await tell(shop, "survey")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await flows.retire(connection, shop.tenant_id, "test.survey", now=shop.clock.now())
        with pytest.raises(NotFoundError):
            await flows.retire(connection, shop.tenant_id, "test.survey", now=shop.clock.now())
    await tell(shop, "good")
    await tell(shop, "2")
    assert (await the_session(shop))["outcome"] == "SUCCESS"
    await tell(shop, "survey")
    assert (await the_session(shop))["outcome"] == "SKILL_RETIRED"
    again = await import_flow(shop.runtime, shop.tenant_id, FLOW)
    assert (again.changed, again.retired) == (False, True)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await flows.restore(connection, shop.tenant_id, "test.survey")
        with pytest.raises(NotFoundError):
            await flows.restore(connection, shop.tenant_id, "test.survey")
    await tell(shop, "survey")
    assert (await the_session(shop))["state"] == "AWAITING_USER"


async def test_names_of_flows_and_skills_are_unique_together(shop: Harness) -> None:
    with pytest.raises(FaultyFileError) as refused:
        await import_flow(shop.runtime, shop.tenant_id, FLOW.replace("test.survey", "test.slow"))
    assert refused.value.faults[0].line == 1
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    spec = SkillSpec(name="test.survey", label="Survey", version="1")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        with pytest.raises(AlreadyTakenError, match=r"a flow called test\.survey"):
            await skills.register(connection, shop.tenant_id, [spec], now=shop.clock.now())


async def test_the_menu_leads_through_the_whole_path(shop: Harness, calls: Calls) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    done = await import_menu(shop.runtime, shop.tenant_id, MENU, as_default=False)
    assert (done.version, done.changed) == (1, True)
    await tell(shop, "hello")
    (entry,) = await shop.journal()
    buttons = [button["reply"] for button in entry["request"]["interactive"]["action"]["buttons"]]
    assert [button["id"] for button in buttons] == ["menu:survey", "menu:more", "menu:person"]
    await tell(shop, "MÓRE")
    calls.go_on.set()
    await tell(shop, "1")
    row = await the_session(shop)
    assert (row["intent"], row["outcome"]) == ("test.slow", "SUCCESS")
    await tell(shop, "hello")
    await shop.send(
        {
            "type": "interactive",
            "interactive": {"type": "button_reply", "button_reply": {"id": "menu:person", "title": "Person"}},
        }
    )
    await shop.settle()
    row = await the_session(shop)
    assert (row["state"], row["outcome"], row["outcome_reason"]) == (
        "WITH_AGENT",
        "HANDOFF",
        "the menu's person: picked",
    )


async def test_a_tenant_has_one_default_menu(shop: Harness) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)

    async def default() -> tuple[str, int]:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            menu = await menus.default(connection, shop.tenant_id)
        assert menu is not None
        return menu.name, menu.version

    async def take(text: str, *, as_default: bool = False) -> tuple[int, bool]:
        done = await import_menu(shop.runtime, shop.tenant_id, text, as_default=as_default)
        return done.version, done.changed

    other = MENU.replace("menu: main", "menu: other")
    assert await take(MENU) == (1, True)
    assert await take(MENU) == (1, False)
    assert await take(other) == (1, True)
    assert await default() == ("main", 1)
    assert await take(MENU.replace("Pick", "Choose")) == (2, True)
    assert await default() == ("main", 2), "a new version of the default menu is the default one"
    assert await take(other, as_default=True) == (1, True)
    assert await default() == ("other", 1)
    assert await take(other) == (1, False), "without --default an import does not take the default away"
    assert await default() == ("other", 1)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute("UPDATE menu SET is_default = true WHERE current")


async def test_what_a_menu_names_must_be_there(shop: Harness) -> None:
    with pytest.raises(FaultyFileError) as refused:
        await import_menu(shop.runtime, shop.tenant_id, MENU, as_default=True)
    assert [fault.line for fault in refused.value.faults] == [4]
    assert await shop.rows("SELECT 1 FROM menu") == []


async def test_a_definition_cannot_be_changed(shop: Harness) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    for statement in ("UPDATE flow SET definition = '{}'", "UPDATE flow SET version = 9", "DELETE FROM flow"):
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)


async def test_what_is_given_out_is_taken_in_as_the_same(shop: Harness) -> None:
    await import_flow(shop.runtime, shop.tenant_id, FLOW)
    await import_menu(shop.runtime, shop.tenant_id, MENU, as_default=True)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        flow = (await flows.list_all(connection, shop.tenant_id))["test.survey"]
        menu = await menus.default(connection, shop.tenant_id)
    assert menu is not None
    assert not (await import_flow(shop.runtime, shop.tenant_id, flow_to_yaml(flow))).changed
    assert not (await import_menu(shop.runtime, shop.tenant_id, menu_to_yaml(menu), as_default=False)).changed


async def test_the_command_line(
    shop: Harness, database_urls: DatabaseURLs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DRAGOMAN_DATABASE_URL", database_urls.application)
    monkeypatch.setenv("DRAGOMAN_DATA_DIR", str(tmp_path))
    # Each command has an event loop of its own.
    await asyncio.to_thread(_use_the_command_line, tmp_path)


def _use_the_command_line(tmp_path: Path) -> None:
    good, bad, menu = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "menu.yaml"
    good.write_text(FLOW)
    bad.write_text(FLOW.replace("next: count", "next: cuont").replace("type: number", "type: nmber"))
    menu.write_text(MENU)

    def run(app: Any, *arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--tenant", "shop"])

    refused = run(cli.flow, "import", str(bad))
    assert refused.exit_code == 1
    lines = refused.stderr.replace("\n", " ")
    assert f"{bad}:7: type is one of text, number" in lines
    assert f"{bad}:9: there is no step cuont" in lines
    assert "is now at version 1" in run(cli.flow, "import", str(good)).stderr
    assert "stays at version 1" in run(cli.flow, "import", str(good)).stderr
    exported = run(cli.flow, "export", "test.survey").stdout
    good.write_text(exported)
    assert "stays at version 1" in run(cli.flow, "import", str(good)).stderr
    assert json.loads(run(cli.flow, "list", "--json").stdout) == [
        {"name": "test.survey", "version": 1, "label": "Survey", "steps": 4, "retired": "no"}
    ]
    assert run(cli.flow, "retire", "test.survey").exit_code == 0
    assert "It is still retired" in run(cli.flow, "import", str(good)).stderr
    assert run(cli.flow, "restore", "test.survey").exit_code == 0
    assert "is now at version 1" in run(cli.menu, "import", str(menu), "--default").stderr
    menu.write_text(run(cli.menu, "export").stdout)
    assert "stays at version 1" in run(cli.menu, "import", str(menu)).stderr
    assert json.loads(run(cli.menu, "list", "--json").stdout) == [{"name": "main", "version": 1, "default": "yes"}]
    assert isinstance(run(cli.flow, "export", "no.flow").exception, NotFoundError)
    assert isinstance(run(cli.menu, "export", "none").exception, NotFoundError)
