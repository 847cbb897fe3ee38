"""Programs do at the API what agents do in the inbox: claim, answer once, and are told why not."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from dragoman.domain import service_window
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.store.accounts import api_tokens, user_accounts
from dragoman.web.api.handoffs import WINDOW_CLOSED
from tests.db.tenant_fixture import PASSWORD, bearer
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_handoff import handed_over, said, types
from tests.pipeline.test_templates import WABA, definition, fetch, has

API = "/api/v1/handoffs"


class Caller:
    """A program with a token of its own, which stands for an agent of its name."""

    def __init__(self, shop: Harness, token: str, agent_id: UUID) -> None:
        self.shop, self.token, self.agent_id = shop, token, agent_id

    @classmethod
    async def with_role(cls, shop: Harness, role: str, name: str) -> Caller:
        now, token_id = shop.clock.now(), uuid4()
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            token = await api_tokens.create_token(
                connection, shop.tenant_id, token_id=token_id, name=name, role=role, now=now,
                expires_at=now + timedelta(days=30),
            )  # fmt: skip
        return cls(shop, token, token_id)

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self.shop.web.get(path, params=query, headers=bearer(self.token))

    async def post(self, path: str, **given: Any) -> httpx.Response:
        return await self.shop.web.post(path, json=given, headers=bearer(self.token))


@pytest.fixture
async def ana(shop: Harness) -> Caller:
    return await Caller.with_role(shop, "agent", "Ana Lima")


@pytest.fixture
async def bo(shop: Harness) -> Caller:
    return await Caller.with_role(shop, "agent", "Bo Berg")


@pytest.fixture
async def admin(shop: Harness) -> Caller:
    return await Caller.with_role(shop, "administrator", "Ada Admin")


async def test_a_shift_by_program(shop: Harness, ana: Caller, bo: Caller) -> None:
    session_id = await handed_over(shop)
    own = f"{API}/{session_id}"
    (row,) = (await ana.get(API, show="unassigned")).json()["items"]
    assert row["session_id"] == str(session_id)
    assert (row["owner"], row["state"]) == (None, "WITH_AGENT")
    assert row["waiting_since"] is not None
    assert row["window_until"] is not None
    claimed = (await ana.post(f"{own}/claim")).json()
    assert claimed["owner"] == {"agent_id": str(ana.agent_id), "name": "Ana Lima"}
    assert (await ana.get(API, show="unassigned")).json()["items"] == []
    assert len((await ana.get(API, show="mine")).json()["items"]) == 1
    refused = await bo.post(f"{own}/claim")
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["detail"] == "Ana Lima has this conversation."
    assert (await bo.post(f"{own}/answers", request_id=str(uuid4()), text="Hello")).status_code == 409
    noted = await bo.post(f"{own}/notes", request_id=str(uuid4()), text="She is my neighbour")
    assert noted.status_code == 201
    assert noted.json()["last_message"]["is_note"]
    assert (await bo.post(f"{own}/take-over", reason="Ana went home")).json()["owner"]["name"] == "Bo Berg"
    assert (await bo.post(f"{own}/unassign", reason="lunch")).json()["owner"] is None
    assert (await bo.post(f"{own}/claim")).status_code == 200
    answered = await bo.post(f"{own}/answers", request_id=str(uuid4()), text="Hello from Bo")
    assert answered.status_code == 201
    assert answered.json()["waiting_since"] is None
    assert (await bo.post(f"{own}/resolve", reason="Solved")).json()["state"] == "RESOLVED"
    await shop.settle()
    assert (await said(shop)).count("Hello from Bo") == 1
    assert "She is my neighbour" not in await said(shop)
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_the_same_request_is_answered_with_200_and_sent_once(shop: Harness, ana: Caller) -> None:
    session_id = await handed_over(shop)
    own = f"{API}/{session_id}"
    await ana.post(f"{own}/claim")
    request_id = str(uuid4())
    done = await asyncio.gather(*(ana.post(f"{own}/answers", request_id=request_id, text="Once") for _ in range(6)))
    assert sorted(answer.status_code for answer in done) == [200] * 5 + [201]
    note_id = str(uuid4())
    assert [(await ana.post(f"{own}/notes", request_id=note_id, text="n")).status_code for _ in range(2)] == [201, 200]
    await shop.settle()
    assert (await said(shop)).count("Once") == 1


async def test_a_request_id_of_another_conversation_is_refused_and_not_taken_for_done(
    shop: Harness, ana: Caller
) -> None:
    request_id = str(uuid4())
    first = await handed_over(shop)
    await shop.say("human please", phone="436602223344", name="Bruno")
    await shop.settle()
    (second,) = [row["session_id"] for row in await shop.rows("SELECT session_id FROM session") if
                 row["session_id"] != first]  # fmt: skip
    for session_id, status in ((first, 201), (second, 409)):
        await ana.post(f"{API}/{session_id}/claim")
        answer = await ana.post(f"{API}/{session_id}/answers", request_id=request_id, text=f"To {status}")
        assert answer.status_code == status, answer.text
    await shop.settle()
    assert "To 409" not in await said(shop)


async def test_outside_the_window_a_text_is_refused_with_a_type_of_its_own_and_a_template_is_sent(
    shop: Harness, ana: Caller
) -> None:
    has(shop, [definition("come_back")])
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute("UPDATE channel_account SET waba_id = $1", WABA)
    await fetch(shop)
    session_id = await handed_over(shop)
    own = f"{API}/{session_id}"
    await ana.post(f"{own}/claim")
    shop.clock.move(hours=25)
    refused = await ana.post(f"{own}/answers", request_id=str(uuid4()), text="Are you still there?")
    assert refused.status_code == 409
    assert refused.json()["type"] == WINDOW_CLOSED
    assert refused.json()["detail"] == service_window.NEEDS_TEMPLATE
    # What else is refused has no such type.
    assert (await ana.post(f"{own}/take-over", reason="x")).status_code == 200
    template = {"name": "come_back", "language": "en", "parameters": {}}
    empty = await ana.post(f"{own}/answers", request_id=str(uuid4()), template=template)
    assert empty.status_code == 422
    assert empty.json()["errors"][0]["parameter"] == "template.parameters.body.1"
    unknown = await ana.post(f"{own}/answers", request_id=str(uuid4()), template={**template, "name": "other"})
    assert unknown.status_code == 422
    template["parameters"] = {"body.1": "Ana"}
    sent = await ana.post(f"{own}/answers", request_id=str(uuid4()), template=template)
    assert sent.status_code == 201, sent.text
    await shop.settle()
    names = [entry["request"]["template"]["name"] for entry in await shop.journal() if entry["type"] == "template"]
    assert names == ["come_back"]
    assert "Are you still there?" not in await said(shop)


async def test_an_answer_quotes_a_message_of_the_same_conversation_only(shop: Harness, ana: Caller) -> None:
    wamid = await shop.say("human please")
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, message_id FROM message WHERE channel_message_id = $1", wamid)
    own = f"{API}/{row['session_id']}"
    await ana.post(f"{own}/claim")
    wrong = await ana.post(f"{own}/answers", request_id=str(uuid4()), text="Yes", reply_to=str(uuid4()))
    assert wrong.status_code == 422
    right = await ana.post(f"{own}/answers", request_id=str(uuid4()), text="Yes", reply_to=str(row["message_id"]))
    assert right.status_code == 201
    await shop.settle()
    quoted = [entry["request"].get("context") for entry in await shop.journal() if entry["type"] == "text"]
    assert quoted[-1] == {"message_id": wamid}


@pytest.mark.parametrize(
    "given", [{}, {"text": "x", "template": {"name": "a", "language": "en"}}, {"text": "  "}, {"text": ""}]
)
async def test_an_answer_is_a_text_or_a_template(shop: Harness, ana: Caller, given: dict[str, Any]) -> None:
    session_id = await handed_over(shop)
    await ana.post(f"{API}/{session_id}/claim")
    answer = await ana.post(f"{API}/{session_id}/answers", request_id=str(uuid4()), **given)
    assert answer.status_code == 422


async def test_a_session_is_assigned_to_somebody_who_answers_contacts(shop: Harness, ana: Caller) -> None:
    session_id = await handed_over(shop)
    members = {}
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        for role in ("agent", "auditor"):
            user = await user_accounts.create_user(
                connection, shop.tenant_id, user_id=uuid4(), email=f"{role}@{shop.tenant_id}.example",
                name=role.title(), password=PASSWORD, role=role, now=shop.clock.now(),
            )  # fmt: skip
            members[role] = str(user.user_id)
    own = f"{API}/{session_id}"
    assert (await ana.post(f"{own}/assign", agent_id=members["auditor"], reason="")).status_code == 422
    given = (await ana.post(f"{own}/assign", agent_id=members["agent"], reason="German")).json()
    assert given["owner"]["agent_id"] == members["agent"]


async def test_drafts_are_kept_and_shared_ones_are_seen(shop: Harness, ana: Caller, bo: Caller) -> None:
    draft = f"{API}/{await handed_over(shop)}/draft"
    for shared, seen in ((False, 0), (True, 1)):
        given = {"text": "Dear", "is_shared": shared}
        assert (await shop.web.put(draft, json=given, headers=bearer(ana.token))).status_code == 204
        assert (await ana.get(draft)).json()["mine"]["text"] == "Dear"
        assert len((await bo.get(draft)).json()["shared"]) == seen
    assert (await bo.get(draft)).json()["shared"][0]["agent"]["name"] == "Ana Lima"


async def test_what_was_never_handed_over_is_not_there(shop: Harness, ana: Caller) -> None:
    await shop.say("answer me")
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id FROM session")
    assert (await ana.get(f"{API}/{row['session_id']}")).status_code == 404
    assert (await ana.get(f"{API}/{row['session_id']}/draft")).status_code == 404
    assert (await ana.post(f"{API}/{row['session_id']}/claim")).status_code == 409


async def test_a_running_skill_is_released_at_the_api_and_the_next_message_is_answered(
    shop: Harness, calls: Calls, admin: Caller
) -> None:
    await shop.say("slow please")
    working = asyncio.create_task(shop.settle())
    await calls.begun.wait()
    (item,) = (await admin.get("/api/v1/sessions/active", state="all")).json()["items"]
    assert item["state"] == "PROCESSING"
    assert item["dispatch"]["skill"] == "test.slow"
    assert not item["dispatch"]["looks_stuck"]
    assert item["dispatch"]["held_since"] is not None
    session_id = item["session_id"]
    released = await admin.post(f"/api/v1/sessions/{session_id}/release", reason="it hangs")
    assert released.status_code == 204, released.text
    again = await admin.post(f"/api/v1/sessions/{session_id}/release", reason="it hangs")
    assert again.status_code == 409
    calls.go_on.set()
    await working
    found = await types(shop, UUID(session_id))
    assert "dispatch.orphaned" in found
    (act,) = await shop.rows("SELECT action, object_id, before, after FROM administrator_action")
    assert (act["action"], act["object_id"]) == ("session.released", session_id)
    assert (act["before"]["state"], act["after"]["reason"]) == ("PROCESSING", "it hangs")
    assert "done at last" not in await said(shop)
    await shop.say("answer me")
    await shop.settle()
    assert any(text.startswith("answer") for text in await said(shop))


async def test_releasing_and_ending_need_the_administrators_permission(shop: Harness, ana: Caller) -> None:
    session_id = await handed_over(shop)
    assert (await ana.get("/api/v1/sessions/active")).status_code == 403
    for action in ("release", "end"):
        assert (await ana.post(f"/api/v1/sessions/{session_id}/{action}", reason="x")).status_code == 403
