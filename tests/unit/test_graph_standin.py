"""The stand-in: what it refuses, what it remembers, what it sends back, and what it can be told to do wrong."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from graph_standin import StandinConfig, create_app
from graph_standin.people import made_up_user_id
from graph_standin.webhooks import AT_A_TIME, Deliverer
from tests import loop_clock
from tests.ports import free_port
from tests.unit.standin_harness import NOW, NUMBER, OURS, TEXT, StandinHarness, world_of
from tests.waiting import PATIENCE_S, eventually, eventually_seen, patience


@pytest.fixture
async def harness() -> AsyncIterator[StandinHarness]:
    async with world_of() as made:
        yield made


async def test_a_message_is_answered_as_meta_does(harness: StandinHarness) -> None:
    response = await harness.send()
    assert response.status_code == 200
    answer = response.json()
    assert answer["messaging_product"] == "whatsapp"
    assert answer["contacts"] == [{"input": "+43 664 1", "wa_id": "436641"}]
    assert answer["messages"][0]["id"].startswith("wamid.")


async def test_signed_statuses_come_back_in_order(harness: StandinHarness) -> None:
    wamid = (await harness.send({**TEXT, "biz_opaque_callback_data": "entry-1"})).json()["messages"][0]["id"]
    await harness.standin.drain()
    assert [status["status"] for status in harness.receiver.statuses] == ["sent", "delivered", "read"]
    for body, signature in zip(harness.receiver.bodies, harness.receiver.signatures, strict=True):
        assert signature == "sha256=" + hmac.new(b"s-700", body, hashlib.sha256).hexdigest()
    value = harness.receiver.values[0]
    assert value["metadata"] == {"display_phone_number": "+43 1 23", "phone_number_id": "700"}
    user_id = made_up_user_id("436641")
    assert value["contacts"] == [{"profile": {"name": "436641"}, "wa_id": "436641", "user_id": user_id}]
    assert value["statuses"] == [
        {
            "id": wamid,
            "status": "sent",
            "timestamp": str(int(NOW.timestamp())),
            "recipient_id": "436641",
            "recipient_user_id": user_id,
            "biz_opaque_callback_data": "entry-1",
            "pricing": {
                "billable": False,
                "pricing_model": "PMP",
                "type": "free_customer_service",
                "category": "service",
            },
        }
    ]


async def test_statuses_can_come_in_one_call_or_not_at_all() -> None:
    async with world_of(statuses_together=True) as harness:
        await harness.send()
        await harness.standin.drain()
        assert len(harness.receiver.bodies) == 1
        assert len(harness.receiver.statuses) == 3
    async with world_of(statuses=False) as harness:
        await harness.send()
        assert harness.standin.pending == 0


async def test_statuses_wait_for_their_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world_of(status_delay=7200) as harness:
        await harness.send()
        assert harness.standin.pending
        loop_clock.move(monkeypatch, 3600)
        assert (await harness.http.get("/healthz")).text == "ok"
        assert harness.receiver.bodies == []

        def come_later() -> bool:
            loop_clock.move(monkeypatch, 7200)
            return len(harness.receiver.bodies) == 3

        await eventually(come_later)
        await harness.standin.drain()
        assert len(harness.receiver.bodies) == 3


async def test_a_user_id_is_a_recipient(harness: StandinHarness) -> None:
    body = {key: value for key, value in TEXT.items() if key != "to"} | {"recipient": "AT.1"}
    assert (await harness.send(body)).json()["contacts"] == [{"input": "AT.1", "user_id": "AT.1"}]
    await harness.standin.drain()
    assert harness.receiver.statuses[0]["recipient_user_id"] == "AT.1"
    assert "recipient_id" not in harness.receiver.statuses[0]


@pytest.mark.parametrize("token", ["", "wrong", "t-70"])
async def test_a_wrong_bearer_is_refused(harness: StandinHarness, token: str) -> None:
    response = await harness.send(token=token)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == 190
    assert response.json()["error"]["type"] == "OAuthException"
    assert (await harness.http.get("/v24.0/123")).status_code == 401
    assert (await harness.http.get("/media-download/123")).status_code == 401
    upload = await harness.http.post("/v24.0/700/media", headers={"Authorization": f"Bearer {token}"})
    assert upload.status_code == 401
    assert await harness.journal() == []


async def test_another_numbers_bearer_is_refused(harness: StandinHarness) -> None:
    for number in ("701", "999"):
        response = await harness.send(number=number)
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["code"], error["error_subcode"]) == (100, 33)
    assert (await harness.send(token="t-701", number="701")).status_code == 200


def interactive(kind: str, action: Any, text: str = "b", **fields: Any) -> dict[str, Any]:
    part = {"type": kind, "body": {"text": text}, "action": action, **fields}
    return {**TEXT, "type": "interactive", "interactive": part}


def button(title: str = "t", **reply: Any) -> dict[str, Any]:
    return {"type": "reply", "reply": {"id": title, "title": title, **reply}}


def rows(count: int, **fields: Any) -> dict[str, Any]:
    made = [{"id": str(n), "title": "t", **fields} for n in range(count)]
    return {"button": "Menu", "sections": [{"rows": made}]}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({**TEXT, "messaging_product": "sms"}, 100),
        ({key: value for key, value in TEXT.items() if key != "to"}, 100),
        ({**TEXT, "to": "Anna"}, 131009),
        ({**TEXT, "to": 43}, 131009),
        ({**TEXT, "to": None, "recipient": "Anna"}, 131009),
        ({**TEXT, "to": "43123"}, 131021),
        ({**TEXT, "type": "smell"}, 100),
        ({**TEXT, "type": ["text"]}, 100),
        ({**TEXT, "text": None}, 131008),
        ({**TEXT, "text": {"body": ""}}, 131008),
        ({**TEXT, "text": {"body": "x" * 4097}}, 100),
        ({**TEXT, "context": {}}, 131009),
        ({**TEXT, "biz_opaque_callback_data": "x" * 513}, 131009),
        ({**TEXT, "type": "image", "image": {}}, 131008),
        ({**TEXT, "type": "image", "image": {"id": "1", "caption": "x" * 1025}}, 131009),
        ({**TEXT, "type": "audio", "audio": {"id": "1", "caption": "x"}}, 100),
        ({**TEXT, "type": "template", "template": {"name": "n"}}, 131008),
        ({**TEXT, "type": "location", "location": {"latitude": 91, "longitude": 0}}, 131009),
        ({**TEXT, "type": "reaction", "reaction": {"message_id": "wamid.1"}}, 131008),
        ({**TEXT, "type": "contacts", "contacts": []}, 131008),
        (interactive("button", {"buttons": [button(str(n)) for n in range(4)]}), 131009),
        (interactive("button", {"buttons": [button("x" * 21)]}), 131009),
        (interactive("button", {"buttons": [button(), button()]}), 131009),
        (interactive("button", {"buttons": [button()]}, text="x" * 1025), 131009),
        (interactive("button", {"buttons": [button()]}, footer={"text": "x" * 61}), 131009),
        (interactive("button", None), 131008),
        (interactive("list", rows(11)), 131009),
        (interactive("list", rows(1, title="x" * 25)), 131009),
        (interactive("list", rows(1, description="x" * 73)), 131009),
        (interactive("list", rows(2, id="same")), 131009),
        (interactive("list", {**rows(1), "button": "x" * 21}), 131009),
        (interactive("hologram", {}), 131009),
        ({"messaging_product": "whatsapp", "status": "sent", "message_id": "wamid.1"}, 131009),
        ({"messaging_product": "whatsapp", "status": "read", "message_id": ""}, 131009),
        (["no object"], 100),
    ],
)
async def test_meta_s_refusals(harness: StandinHarness, body: Any, code: int) -> None:
    response = await harness.send(body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == code
    assert error["message"].startswith(f"(#{code})")
    assert error["error_data"]["details"]
    (entry,) = await harness.journal()
    assert (entry["status"], entry["wamid"], entry["request"]) == (400, None, body)
    assert harness.standin.pending == 0


async def test_a_read_receipt_gets_no_statuses(harness: StandinHarness) -> None:
    receipt = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.1"}
    typing = {**receipt, "typing_indicator": {"type": "text"}}
    for body in (receipt, typing):
        response = await harness.send(body)
        assert (response.status_code, response.json()) == (200, {"success": True})
    assert [entry["kind"] for entry in await harness.journal()] == ["read", "read"]
    assert harness.standin.pending == 0


async def test_the_journal_survives_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.jsonl"
    async with world_of(path) as harness:
        await harness.send()
        await harness.send({**TEXT, "to": "432000"})
        before = await harness.journal()
    # What kill -9 can leave behind: a line that was not finished.
    with path.open("ab") as file:
        file.write(b'{"seq":3,"at":')
    async with world_of(path) as harness:
        assert await harness.journal() == before
        await harness.send()
        assert [entry["seq"] for entry in await harness.journal()] == [1, 2, 3]
    async with world_of(path) as harness:
        assert [entry["seq"] for entry in await harness.journal()] == [1, 2, 3]
        assert before[0] == (await harness.journal())[0]


async def test_the_journal_can_be_searched(harness: StandinHarness) -> None:
    for to in ("431000", "432000", "431000"):
        await harness.send({**TEXT, "to": to})
    assert [entry["seq"] for entry in await harness.journal(to="431000")] == [1, 3]
    assert [entry["seq"] for entry in await harness.journal(after=1)] == [2, 3]
    assert [entry["seq"] for entry in await harness.journal(limit=2)] == [1, 2]
    assert (await harness.journal())[0] | {"answer": None, "wamid": None} == {
        "seq": 1,
        "at": NOW.isoformat(),
        "phone_number_id": "700",
        "kind": "message",
        "to": "431000",
        "type": "text",
        "wamid": None,
        "status": 200,
        "request": {**TEXT, "to": "431000"},
        "answer": None,
        "lost": False,
    }
    wrong = await harness.http.get("/journal", params={"after": "x"}, headers=OURS)
    assert wrong.status_code == 422


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/journal"), ("GET", "/control"), ("POST", "/control"), ("DELETE", "/control"), ("POST", "/inbound")],
)
async def test_our_doors_need_the_control_token(harness: StandinHarness, method: str, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer t-700"}, {"Authorization": "Basic control"}):
        assert (await harness.http.request(method, path, headers=headers)).status_code == 401


async def test_rules_match_count_down_and_can_be_taken_back(harness: StandinHarness) -> None:
    told = await harness.tell({"match": {"to": "431000"}, "times": 2, "error": 131056}, {"times": None, "error": 4})
    assert [rule["error"] for rule in told.json()["rules"]] == [131056, 4]
    codes = [
        (await harness.send({**TEXT, "to": to})).json()["error"]["code"]
        for to in ("431000", "432000", "431000", "431000")
    ]
    assert codes == [131056, 4, 131056, 4]
    cleared = await harness.http.delete("/control", headers=OURS)
    assert cleared.json()["rules"] == []
    assert (await harness.send()).status_code == 200


async def test_rules_match_words_and_types(harness: StandinHarness) -> None:
    await harness.tell({"match": {"text": "invoice", "type": "text"}, "error": 1})
    assert (await harness.send()).status_code == 200
    assert (await harness.send({**TEXT, "text": {"body": "your invoice"}})).json()["error"]["code"] == 1


@pytest.mark.parametrize(
    "rule",
    [
        "x",
        {"errors": 1},
        {"error": "1"},
        {"match": {"color": "red"}},
        {"statuses": ["lost"]},
        {"drop_connection": "sometimes"},
    ],
)
async def test_a_rule_that_cannot_be_followed_is_refused_whole(harness: StandinHarness, rule: Any) -> None:
    response = await harness.tell({"error": 1}, rule)
    assert response.status_code == 422
    assert response.json()["detail"]
    assert (await harness.http.get("/control", headers=OURS)).json()["rules"] == []


async def test_other_statuses_can_be_ordered(harness: StandinHarness) -> None:
    await harness.tell({"statuses": ["delivered", "failed"], "status_error": 131047})
    await harness.send()
    await harness.standin.drain()
    delivered, failed = harness.receiver.statuses
    assert (delivered["status"], failed["status"]) == ("delivered", "failed")
    assert failed["errors"][0]["code"] == 131047
    assert "contacts" not in harness.receiver.values[1]


async def test_raw_answers_and_delays(harness: StandinHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    await harness.tell({"http_status": 503, "raw": "not json"}, {"delay_seconds": 3600}, {"http_status": 429})
    response = await harness.send()
    assert (response.status_code, response.text) == (503, "not json")
    waiting = asyncio.create_task(harness.send())

    async def is_taken() -> bool:
        return len(await harness.journal()) == 2

    await eventually_seen(is_taken)
    assert not waiting.done()
    loop_clock.move(monkeypatch, 3600)
    async with patience():
        assert (await waiting).status_code == 200
    assert (await harness.send()).status_code == 429


@pytest.mark.parametrize(("how", "taken"), [(True, True), ("before", False)])
async def test_the_connection_can_be_cut(harness: StandinHarness, how: Any, taken: bool) -> None:
    await harness.tell({"drop_connection": how})
    with pytest.raises(httpx.ReadError):
        await harness.send()
    (entry,) = await harness.journal()
    assert entry["lost"]
    assert (entry["wamid"] is not None) is taken
    await harness.standin.drain()
    assert bool(harness.receiver.statuses) is taken


async def test_a_webhook_that_fails_is_tried_again(harness: StandinHarness) -> None:
    harness.receiver.answers = [500, 204]
    await harness.tell({"statuses": ["sent"]})
    await harness.send()
    await harness.standin.drain()
    assert len(harness.receiver.bodies) == 3
    assert len(set(harness.receiver.bodies)) == 1
    assert (await harness.http.get("/control", headers=OURS)).json()["given_up"] == []


async def test_a_webhook_that_always_fails_is_given_up(harness: StandinHarness) -> None:
    harness.receiver.answers = [503] * 5
    await harness.tell({"statuses": ["sent"]})
    await harness.send()
    await harness.standin.drain()
    assert len(harness.receiver.bodies) == 5
    (given_up,) = (await harness.http.get("/control", headers=OURS)).json()["given_up"]
    assert given_up["status"] == 503


async def test_nobody_at_the_webhook_is_bounded_too() -> None:
    async with world_of(
        webhook_url=f"http://127.0.0.1:{free_port()}", http=httpx.AsyncClient, webhook_attempts=2
    ) as harness:
        await harness.tell({"statuses": ["sent"]})
        await harness.send()
        await harness.standin.drain()
        assert harness.standin.deliverer.given_up[0]["status"] is None


async def test_behind_a_real_socket_a_cut_connection_is_a_broken_answer() -> None:
    config = StandinConfig(webhook_url="http://nowhere", control_token="control", numbers=(NUMBER,), statuses=False)
    app = create_app(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=base, timeout=PATIENCE_S) as http:
            assert (await http.get("/healthz")).text == "ok"
            await http.post("/control", json={"rules": [{"drop_connection": True}]}, headers=OURS)
            bearer = {"Authorization": "Bearer t-700"}
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post("/v24.0/700/messages", json=TEXT, headers=bearer)
            assert (await http.post("/v24.0/700/messages", json=TEXT, headers=bearer)).status_code == 200
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await serving
    assert [entry.lost for entry in app.state.standin.journal.entries] == [True, False]


async def test_a_crowd_of_statuses_is_posted_a_few_at_a_time() -> None:
    """Thousands at once kept the client so busy with choosing connections that nobody could send any more."""
    under_way, most = 0, 0
    full = asyncio.Event()

    async def receive(_: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == AT_A_TIME:
            full.set()
        await full.wait()
        for _turn in range(100):
            # All posts come this far in as many turns of the loop, so that one too many would be seen.
            await asyncio.sleep(0)
        under_way -= 1
        return httpx.Response(200)

    config = StandinConfig(
        webhook_url="http://dispatcher.test/hook",
        control_token="control",
        numbers=(NUMBER,),
        http=lambda: httpx.AsyncClient(transport=httpx.MockTransport(receive)),
    )
    deliverer = Deliverer(config)
    async with patience():
        receipts = await asyncio.gather(*(deliverer.post(NUMBER, {}) for _ in range(6 * AT_A_TIME)))
    await deliverer.close()
    assert all(receipt.good for receipt in receipts)
    assert most == AT_A_TIME
