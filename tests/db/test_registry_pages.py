"""The registry's pages and API: what they show, and what administrators do there."""

from __future__ import annotations

import asyncio
import html
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain.nouns import HttpTarget, Level, Parameter, ParameterKind, Phrase, Registry, SkillSpec
from dragoman.runtime import Runtime
from dragoman.services.catalogue import manage_skills, try_skill
from dragoman.services.catalogue.import_definitions import import_flow, import_menu
from dragoman.services.insights.count_usage import rebuild_usage
from dragoman.skills import verify_signature
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.skills.manifest import read_manifest
from dragoman.store.accounts import roles
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.catalogue import phrases, skills
from dragoman.store.catalogue.phrases import AddedPhrase
from dragoman.web.app import create_app
from dragoman.web.console.dispatches import ADDRESS as CALLS
from tests.skill_server import answering, hang, http, large, serving

from .tenant_fixture import TenantFixture, bearer
from .test_people import signed_in

PAGE = "/communications/skills"
API = "/api/v1/skills"

STATUS = SkillSpec(
    name="orders.status", label="Order status", version="1", owner="Service desk", minimum_level=Level.PHONE_MATCHED,
    description="Tells where an order is.", keywords=("track",),
    phrases=(Phrase(text="where is my order", locale="en"), Phrase(text="wo ist <meine> Bestellung", locale="de")),
    parameters=(Parameter(name="number", kind=ParameterKind.PATTERN, pattern="VF-[0-9]{5}"),),
)  # fmt: skip
PIN = Parameter(name="pin", kind=ParameterKind.TEXT, secret=True)
COUNT = Parameter(name="count", kind=ParameterKind.INTEGER, required=False)
FLOW = """
flow: returns.guided
label: Guided return
steps:
  - {step: look, type: skill, skill: orders.status, parameters: {number: "VF-12345"}, next: done}
  - {step: done, type: end}
"""
MENU = """
menu: main
text: {en: "What can I do for you?"}
nodes:
  - {node: where, type: skill, title: {en: "Where is it?"}, skill: orders.status}
"""


@pytest.fixture
async def calling(runtime: Runtime) -> AsyncIterator[Runtime]:
    """The installation, whose operator lets skills be called at this machine."""
    made = HttpSkills(AllowList.parse("127.0.0.1"))
    yield replace(runtime, http_skills=made)
    await made.aclose()


@pytest.fixture
async def client(calling: Runtime) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=create_app(calling))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as made:
        yield made


@pytest.fixture
async def admin(client: httpx.AsyncClient, tenant: TenantFixture) -> dict[str, str]:
    return await signed_in(client, tenant)


@pytest.fixture
async def token(tenant: TenantFixture) -> dict[str, str]:
    return bearer(await tenant.token("administrator"))


async def register(tenant: TenantFixture, *specs: SkillSpec) -> None:
    await manage_skills.register_skills(tenant.runtime, tenant.tenant_id, specs, COMMAND_LINE)


async def remote(tenant: TenantFixture, url: str, *parameters: Parameter, **target: Any) -> str:
    """A skill behind HTTP; its key's secret."""
    spec = SkillSpec(
        name="billing.copy", label="Invoice copy", version="4", parameters=parameters, timeout_seconds=60,
        http=HttpTarget(url=url, allow_private=True, **target),
    )  # fmt: skip
    done = await manage_skills.register_manifest(tenant.runtime, tenant.tenant_id, spec, COMMAND_LINE)
    assert done.key is not None
    return done.key.secret


async def registry(tenant: TenantFixture) -> Registry:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        return await skills.registry(connection, tenant.tenant_id)


async def records(tenant: TenantFixture, action: str) -> list[tuple[str, dict[str, Any]]]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        rows = await connection.fetch(
            "SELECT actor_name, after FROM administrator_action WHERE action = $1 ORDER BY at, action_id", action
        )
    return [(row["actor_name"], row["after"]) for row in rows]


def words(answer: httpx.Response) -> str:
    """The page as it is read, without its tags and isolates."""
    inline = re.sub(r"</?(?:b|code|span|time)\b[^>]*>", "", answer.text)
    text = html.unescape(re.sub(r"<[^>]*>", " ", inline))
    return " ".join(re.sub("[\u2068\u2069]", "", text).split())


async def test_the_list_says_what_each_skill_is(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    page = await client.get(PAGE, headers=admin)
    assert page.status_code == 200
    for shown in ("Order status", "orders.status", "Service desk", "Phone Matched", "In use", "Python", "Built in"):
        assert shown in words(page)
    assert "Order status" in words(await client.get(f"{PAGE}?status=in_use&kind=python&q=DESK", headers=admin))
    assert "No skills are retired." in words(await client.get(f"{PAGE}?status=retired", headers=admin))
    for wrong in ("status=x", "kind=x"):
        refused = await client.get(f"{PAGE}?{wrong}", headers=admin)
        assert refused.status_code == 422
        assert "Allowed values: " in refused.text


async def test_an_empty_registry_says_what_to_do_next(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    page = words(await client.get(PAGE, headers=admin))
    assert "No skills yet" in page
    assert "dragoman skill register" in page
    assert (await registry(tenant)) == {}


async def test_the_page_of_a_skill_says_what_leads_to_it_and_what_changed(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    await register(tenant, replace(STATUS, version="2", label="Where is it?"))
    await import_flow(tenant.runtime, tenant.tenant_id, FLOW)
    await import_menu(tenant.runtime, tenant.tenant_id, MENU, as_default=True)
    answer = await client.get(f"{PAGE}/orders.status", headers=admin)
    page = words(answer)
    for shown in (
        "Tells where an order is.", "The contact’s number must match a business partner.", "VF-[0-9]{5}",
        "Flow Guided return returns.guided, step look", "Menu main, node where", "track",
        "Version 2 registered", "by the command line", "Label was “Order status”, is “Where is it?”.",
        "First recorded version.",
    ):  # fmt: skip
        assert shown in page, shown
    assert "wo ist &lt;meine&gt; Bestellung" in answer.text
    sheet = page.partition("Retire Where is it?")[2]
    assert "Contacts who ask for it will be told that it is no longer available" in sheet
    assert "the flow Guided return (1 step: look) and the menu main (1 node: where)" in sheet


async def test_who_retired_this_skill_and_when_and_why(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    given = {"reason": "The carrier <has> gone"}
    done = await client.post(f"{PAGE}/orders.status/retire", data=given, headers=admin)
    assert (done.status_code, done.headers["location"]) == (303, f"{PAGE}/orders.status?done=retired")
    auditor = await tenant.cookie(await tenant.user("auditor"))
    page = await client.get(f"{PAGE}/orders.status", headers=auditor)
    assert "by Administrator: The carrier <has> gone" in words(page)
    assert "<has>" not in page.text
    assert 'id="history"' in page.text
    assert 'popovertarget="restore"' not in page.text, "an auditor changes nothing"
    assert "by Administrator" in words(await client.get(f"{PAGE}?status=retired", headers=auditor))


async def test_a_second_click_changes_nothing_and_says_so(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    for verb, action, first, again in (
        ("retire", "skill.retired", "retired", "was_retired"),
        ("restore", "skill.restored", "restored", "was_restored"),
    ):
        for told in (first, again):
            done = await client.post(f"{PAGE}/orders.status/{verb}", data={"reason": "because"}, headers=admin)
            assert done.headers["location"].endswith(f"done={told}")
        assert len(await records(tenant, action)) == 1
        page = await client.get(f"{PAGE}/orders.status?done={again}", headers=admin)
        assert "already" in page.text


async def test_without_a_reason_nothing_is_retired(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    refused = await client.post(f"{PAGE}/orders.status/retire", data={"reason": "  "}, headers=admin)
    assert refused.status_code == 409
    assert "Enter a reason." in refused.text
    for reason in ({}, {"reason": ""}, {"reason": " "}, {"reason": "\x1c"}, {"reason": "x" * 501}):
        answer = await client.post(f"{API}/orders.status/retire", json=reason, headers=token)
        assert answer.status_code == 422, reason
        assert answer.json()["errors"][0]["parameter"] == "reason"
    assert not (await registry(tenant))["orders.status"].retired


async def test_by_the_api_a_skill_is_read_retired_and_restored(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    listed = (await client.get(f"{API}?kind=python", headers=token)).json()
    (item,) = listed["items"]
    assert (item["name"], item["status"], item["phrase_count"], item["minimum_level"]) == (
        "orders.status", "in_use", 2, "PHONE_MATCHED",
    )  # fmt: skip
    for changed in (True, False):
        done = await client.post(f"{API}/orders.status/retire", json={"reason": "because"}, headers=token)
        assert done.json() == {"name": "orders.status", "status": "retired", "changed": changed}
    one = (await client.get(f"{API}/orders.status", headers=token)).json()
    assert one["retirement"]["reason"] == "because"
    assert (one["retirement"]["by"], one["retirement"]["via"]) == ("administrator's script", "token")
    assert [entry["kind"] for entry in one["history"]] == ["retired", "registered"]
    assert one["parameters"]["properties"]["number"]["pattern"] == "VF-[0-9]{5}"
    for changed in (True, False):
        done = await client.post(f"{API}/orders.status/restore", json={}, headers=token)
        assert done.json() == {"name": "orders.status", "status": "in_use", "changed": changed}
    missing = await client.get(f"{API}/no.skill", headers=token)
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")


async def test_the_api_goes_through_the_registry_part_by_part(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    names, cursor = [], ""
    while True:
        part = (await client.get(f"{API}?limit=1{cursor}", headers=token)).json()
        names += [item["name"] for item in part["items"]]
        if part["next_cursor"] is None:
            break
        cursor = f"&cursor={part['next_cursor']}"
    assert names == ["identity.confirm", "orders.status"]
    for wrong in ("____", "A", "_w", "×ø", "YQ", "YSdi"):
        answer = await client.get(API, params={"cursor": wrong}, headers=token)
        assert answer.status_code == 422, wrong
        assert answer.json()["errors"][0]["parameter"] == "cursor"


MANIFEST = {"name": "billing.copy", "label": "Copy", "version": "1", "url": "https://skills.example.com/copy"}


async def test_a_manifest_is_registered_by_the_api(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    address = f"{API}/billing.copy"
    dry = await client.put(f"{address}?dry_run=true", json=MANIFEST, headers=token)
    assert dry.json() | {"key": None} == dry.json()
    assert (dry.json()["new"], dry.json()["changed"], dry.json()["dry_run"]) == (True, True, True)
    assert await registry(tenant) == {}
    done = (await client.put(address, json=MANIFEST, headers=token)).json()
    assert done["key"]["secret"].startswith("dsk_")
    yaml = "name: billing.copy\nlabel: Copy\nversion: '2'\nurl: https://skills.example.com/copy\nowner: Ana\n"
    kind = {**token, "Content-Type": "application/yaml"}
    dry = await client.put(f"{address}?dry_run=true", content=yaml, headers=kind)
    assert dry.json()["differences"] == ["Owner was empty, is “Ana”."]
    done = (await client.put(address, content=yaml, headers=kind)).json()
    assert (done["new"], done["changed"], done["key"]) == (False, True, None)
    assert (await client.put(address, content=yaml, headers=kind)).json()["changed"] is False
    assert (await registry(tenant))["billing.copy"].version == "2"
    assert [after for _, after in await records(tenant, "skill.registered") if after] == [
        {"version": "1"}, {"version": "2"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "parameter", "told"),
    [
        (b"{", "body", "manifest:1"),
        (json.dumps({**MANIFEST, "name": "other.name"}).encode(), "name", "that of other.name"),
        (json.dumps({**MANIFEST, "url": "http://10.0.0.1/"}).encode(), "body", "url"),
        (b"x" * 300_000, "body", "at most"),
    ],
)
async def test_what_is_no_manifest_of_the_skill_is_refused(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str], body: bytes, parameter: str, told: str
) -> None:
    answer = await client.put(f"{API}/billing.copy", content=body, headers=token)
    assert answer.status_code in (413, 422)
    if answer.status_code == 422:
        (error,) = answer.json()["errors"]
        assert error["parameter"] == parameter
        assert told in error["detail"]
    assert (await client.put(f"{API}/billing.copy", content=b"\xff", headers=token)).status_code == 400
    assert await registry(tenant) == {}


async def test_a_name_that_a_flow_has_is_refused_in_the_dry_run_as_well(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    await import_flow(tenant.runtime, tenant.tenant_id, FLOW.replace("returns.guided", "billing.copy"))
    for dry_run in ("true", "false"):
        answer = await client.put(f"{API}/billing.copy?dry_run={dry_run}", json=MANIFEST, headers=token)
        assert answer.status_code == 409


async def test_the_manifest_is_given_out_as_it_can_be_taken_in(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await remote(tenant, "https://skills.example.com/copy", COUNT)
    await register(tenant, STATUS)
    given = await client.get(f"{PAGE}/billing.copy/manifest.yaml", headers=admin)
    assert read_manifest(given.text, "m") == (await registry(tenant))["billing.copy"]
    assert (await client.get(f"{PAGE}/orders.status/manifest.yaml", headers=admin)).status_code == 404


async def test_a_new_key_is_shown_once_and_keys_are_two_at_most(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], token: dict[str, str]
) -> None:
    first = await remote(tenant, "https://skills.example.com/copy")
    shown = await client.post(f"{PAGE}/billing.copy/keys", headers=admin)
    assert "dsk_" in shown.text
    assert first not in shown.text
    page = await client.get(f"{PAGE}/billing.copy", headers=admin)
    assert "dsk_" not in page.text
    assert "Add key" not in words(page)
    assert (await client.post(f"{PAGE}/billing.copy/keys", headers=admin)).status_code == 409
    assert (await client.post(f"{API}/billing.copy/keys", headers=token)).status_code == 409
    keys = [key["key_id"] for key in (await client.get(f"{API}/billing.copy", headers=token)).json()["keys"]]
    assert (await client.post(f"{PAGE}/billing.copy/keys/{keys[0]}/remove", headers=admin)).status_code == 303
    assert (await client.delete(f"{API}/billing.copy/keys/{keys[1]}", headers=token)).status_code == 204
    assert "There is no key" in words(await client.get(f"{PAGE}/billing.copy", headers=admin))
    await register(tenant, STATUS)
    assert (await client.post(f"{PAGE}/orders.status/keys", headers=admin)).status_code == 404


async def test_a_test_call_shows_what_was_sent_and_what_came(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    reply = {"replies": ["It is <on> its way."], "data": {"pages": 2}}
    async with serving(answering(reply)) as server:
        schema = {"type": "object", "properties": {"pages": {"type": "integer"}}}
        secret = await remote(tenant, server.url(), PIN, COUNT, answer=schema)
        given = {"value.pin": 'ge"heim', "value.count": "3", "locale": "de"}
        shown = await client.post(f"{PAGE}/billing.copy/test-call", data=given, headers=admin)
    (request,) = server.received
    assert verify_signature(request.headers, request.body, [secret], now=tenant.runtime.clock.now())
    assert request.json["parameters"] == {"pin": 'ge"heim', "count": 3}
    assert request.json["contact"] == {"id": str(UUID(int=0)), "locale": "de", "business_partner": None}
    assert request.json["idempotency_key"].startswith("test-call:")
    assert request.headers["idempotency-key"] == request.json["idempotency_key"]
    page = words(shown)
    for told in (
        "The skill responded.", "Status 200", "Response Valid", "It is <on> its way.", "Dragoman-Signature v1=",
        '"pages": 2', request.json["idempotency_key"], '"pin": "[redacted]"',
    ):  # fmt: skip
        assert told in page, told
    assert secret not in shown.text
    assert "heim" not in page
    ((name, after),) = await records(tenant, "skill.tried")
    assert name == "Administrator"
    assert after["parameters"] == {"pin": "[redacted]", "count": 3}
    assert after["idempotency_key"] == request.json["idempotency_key"]
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        for table in ("session", "message", "outbox_entry", "audit_event"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, table


@pytest.mark.parametrize(
    ("behaviour", "answer", "told"),
    [
        (
            http(b"out of paper", status=500),
            {"status": 500, "fit": "unknown", "error_class": "HttpStatusError"},
            "out of paper",
        ),
        (answering({"no": 1}), {"status": 200, "fit": "does not fit", "error_class": "InvalidAnswerError"}, "replies"),
        (
            answering({"replies": ["x"], "data": {"pages": "two"}}),
            {"status": 200, "fit": "does not fit", "error_class": "InvalidAnswerError"},
            "data.pages",
        ),
        (
            large(3, announced=False),
            {"status": 200, "fit": "unknown", "error_class": "AnswerTooLargeError"},
            "larger",
        ),
    ],
    ids=["refused", "no answer", "another schema", "too large"],
)
async def test_a_test_call_that_fails_says_how(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str], behaviour: Any, answer: dict[str, Any],
    told: str,
) -> None:  # fmt: skip
    async with serving(behaviour) as server:
        schema = {"type": "object", "properties": {"pages": {"type": "integer"}}}
        await remote(tenant, server.url(), answer=schema)
        given = await client.post(f"{API}/billing.copy/test-call", json={"parameters": {}}, headers=token)
    tried = given.json()
    assert given.status_code == 200
    assert {name: tried[name] for name in answer} == answer
    assert told in tried["problem"]
    assert len(await records(tenant, "skill.tried")) == 1


async def test_a_test_call_goes_nowhere_where_a_skill_may_not_be_called(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    for url in ("https://169.254.169.254/", "https://10.0.0.1/", "http://[::1]/"):
        await remote(tenant, url)
        tried = (await client.post(f"{API}/billing.copy/test-call", json={}, headers=token)).json()
        assert tried["error_class"] == "AddressRefusedError", url
        for key in (await client.get(f"{API}/billing.copy", headers=token)).json()["keys"]:
            await client.delete(f"{API}/billing.copy/keys/{key['key_id']}", headers=token)


async def test_values_that_do_not_fit_make_no_call(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], token: dict[str, str]
) -> None:
    async with serving(answering({"replies": ["x"]})) as server:
        await remote(tenant, server.url(), COUNT, PIN)
        shown = await client.post(
            f"{PAGE}/billing.copy/test-call", data={"value.count": "many", "value.other": "1"}, headers=admin
        )
        assert shown.status_code == 422
        assert "This has no whole number" in shown.text
        assert "This is needed" in shown.text
        for written, told in (("[1]", "are an object"), ("{", "not valid JSON")):
            shown = await client.post(f"{PAGE}/billing.copy/test-call", data={"json": written}, headers=admin)
            assert shown.status_code == 422
            assert told in shown.text
        for values in ({"pin": "1", "count": True}, {"pin": "1", "count": 1.5}, {"pin": ["1"]}, {"pin": "1", "x": 1}):
            answer = await client.post(f"{API}/billing.copy/test-call", json={"parameters": values}, headers=token)
            assert answer.status_code == 422, values
        by_json = {"json": json.dumps({"pin": "1", "count": 4}), "value.count": "many"}
        assert (await client.post(f"{PAGE}/billing.copy/test-call", data=by_json, headers=admin)).status_code == 200
    assert [request.json["parameters"] for request in server.received] == [{"pin": "1", "count": 4}]
    assert len(await records(tenant, "skill.tried")) == 1


async def test_some_skills_cannot_be_tried_and_the_page_says_why(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    page = words(await client.get(f"{PAGE}/identity.confirm", headers=admin))
    assert "This skill cannot be tested here. The dispatcher itself is this skill’s code" in page
    assert (await client.post(f"{API}/identity.confirm/test-call", json={}, headers=token)).status_code == 409
    # A Python skill that no package provides here.
    given = {"parameters": {"number": "VF-12345"}}
    tried = (await client.post(f"{API}/orders.status/test-call", json=given, headers=token)).json()
    assert tried["error_class"] == "SkillNotInstalled"


@pytest.mark.parametrize("role", ["auditor", "agent"])
async def test_who_may_not_change_skills_changes_none(
    client: httpx.AsyncClient, tenant: TenantFixture, role: str
) -> None:
    await remote(tenant, "https://skills.example.com/copy")
    headers = bearer(await tenant.token(role))
    for verb in ("retire", "restore", "keys", "test-call"):
        assert (await client.post(f"{API}/billing.copy/{verb}", json={}, headers=headers)).status_code == 403
    assert (await client.put(f"{API}/billing.copy", json=MANIFEST, headers=headers)).status_code == 403


async def test_the_timeline_and_the_list_lead_to_the_skill(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    session_id = await tenant.session(skill="loyalty.points", intent="loyalty.points", outcome="SKILL_RETIRED")
    await tenant.event(session_id, 1, "skill.retired", payload={"skill": "loyalty.points"})
    await tenant.event(session_id, 2, "skill.failed", payload={"skill": "orders.status", "message": "no"})
    await tenant.event(session_id, 3, "skill.failed", payload={"skill": '"><a href="/x"', "message": "no"})
    page = await client.get(f"/communications/automation/logs/{session_id}", headers=admin)
    assert f'href="{PAGE}/loyalty.points#history"' in page.text
    assert f'href="{PAGE}/orders.status"' in page.text
    assert '<a href="/x"' not in page.text
    listed = await client.get("/communications/automation/logs", headers=admin)
    assert f'href="{PAGE}/loyalty.points"' in listed.text


async def test_each_number_of_use_leads_to_as_many_dispatches(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str], token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    session_id = await tenant.session(skill="orders.status", next_position=7)
    called = {"skill": "orders.status", "skill_version": "1", "attempt": 1}
    failed = {"skill": "orders.status", "error_class": "ValueError", "message": "no <such> order", "duration_ms": 30.0}
    done = {"skill": "orders.status", "duration_ms": 10.0, "cost_micros": 5}
    position = 0
    for end, payload in (("succeeded", done), ("failed", failed), ("succeeded", done)):
        dispatch_id = uuid4()
        for type_, said in (("skill.invoked", called), (f"skill.{end}", payload)):
            position += 1
            await tenant.event(session_id, position, type_, payload=said, dispatch_id=dispatch_id)
    await rebuild_usage(tenant.runtime, tenant.tenant_id)
    page = await client.get(f"{PAGE}/orders.status", headers=admin)
    links = [html.unescape(found) for found in re.findall(rf'href="({re.escape(CALLS)}[^"]+)"', page.text)]
    for result, number in (("", 3), ("succeeded", 2), ("failed", 1)):
        (day, week) = (link for link in links if parse_qs(urlsplit(link).query).get("result", [""]) == [result])
        for link in (day, week):
            listed = await client.get(link, headers=admin)
            assert listed.status_code == 200
            assert listed.text.count(f'href="/communications/automation/logs/{session_id}') == number, link
    assert f'href="/communications/automation/logs/{session_id}#e4"' in page.text
    assert "ValueError" in words(page)
    assert "no <such> order" in words(page)
    one = (await client.get(f"{API}/orders.status", headers=token)).json()
    assert {name: one["last_24_hours"][name] for name in ("dispatches", "succeeded", "failed", "cost_micros")} == {
        "dispatches": 3, "succeeded": 2, "failed": 1, "cost_micros": 10,
    }  # fmt: skip
    assert one["recent_failures"][0]["position"] == 4
    (item,) = (await client.get(f"{API}?q=orders", headers=token)).json()["items"]
    assert (item["last_failure"]["position"], item["last_failure"]["error_class"]) == (4, "ValueError")
    listed = await client.get(PAGE, headers=admin)
    assert "3 dispatches 1 failed" in words(listed)
    assert f'href="/communications/automation/logs/{session_id}#e4"' in listed.text


async def test_failures_and_reasons_are_masked_for_those_who_see_no_numbers(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    given = {"reason": "asked by +436601234567"}
    await client.post(f"{API}/orders.status/retire", json=given, headers=token)
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await roles.add(
            connection, tenant.tenant_id, "looks-on", {"communications.access:read"}, now=tenant.runtime.clock.now()
        )
    headers = bearer(await tenant.token("looks-on"))
    for address in (f"{API}/orders.status", API, PAGE, f"{PAGE}/orders.status"):
        answer = await client.get(address, headers=headers)
        assert answer.status_code == 200
        assert "436601234567" not in answer.text, address
    assert "436601234567" in (await client.get(f"{API}/orders.status", headers=token)).text


async def test_phrases_that_were_added_say_by_whom(
    client: httpx.AsyncClient, tenant: TenantFixture, admin: dict[str, str]
) -> None:
    await register(tenant, STATUS)
    added = AddedPhrase(
        phrase_id=uuid4(), intent="orders.status", text="has it left yet", locale="en", added_by="Ada",
        added_at=tenant.runtime.clock.now(),
    )  # fmt: skip
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await phrases.add(connection, tenant.tenant_id, [added])
    page = words(await client.get(f"{PAGE}/orders.status", headers=admin))
    assert "has it left yet added by Ada, taught with the next version" in page


async def test_a_test_call_is_bounded_in_time_and_number(
    client: httpx.AsyncClient, tenant: TenantFixture, token: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{API}/billing.copy/test-call"
    async with serving(hang) as server:
        await remote(tenant, server.url())
        waiting = [asyncio.create_task(client.post(address, json={}, headers=token)) for _ in range(try_skill.AT_ONCE)]
        await server.arrived(try_skill.AT_ONCE)
        refused = await client.post(address, json={}, headers=token)
        assert refused.status_code == 409
        assert "Other test calls are still running" in refused.text
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        # Those that were given up hold nobody up; and no call lasts as long as its skill's time-out.
        monkeypatch.setattr(try_skill, "LONGEST_S", 0.05)
        tried = (await client.post(address, json={}, headers=token)).json()
    assert tried["error_class"] == "SkillTimedOut"
    assert len(await records(tenant, "skill.tried")) == try_skill.AT_ONCE + 1


@pytest.mark.parametrize("address", [PAGE, f"{PAGE}/identity.confirm", f"{PAGE}/classifier"])
async def test_the_menu_marks_one_page_as_the_current_one(
    client: httpx.AsyncClient, admin: dict[str, str], tenant: TenantFixture, address: str
) -> None:
    await register(tenant, STATUS)
    page = await client.get(address, headers=admin)
    assert page.status_code == 200
    current = re.findall(r'href="([^"]*)"[^>]* aria-current="page"', page.text)
    assert len(current) == 1
    assert address.startswith(current[0])
