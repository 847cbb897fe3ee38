"""What Meta limits and tells: rates, addresses of files, numbers, subscriptions, templates."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from graph_standin.answers import digits
from tests.unit.standin_harness import TEXT, world_of

BEARER = {"Authorization": "Bearer t-700"}


class StandinClock:
    def __init__(self) -> None:
        self.at = datetime(2026, 11, 25, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


def code(response: httpx.Response) -> Any:
    return response.json().get("error", {}).get("code")


def to(number: int) -> dict[str, Any]:
    return {**TEXT, "to": f"4366012345{number:02d}"}


async def test_a_number_sends_as_much_in_a_second_as_it_may() -> None:
    clock = StandinClock()
    async with world_of(clock=clock, messages_per_second=5, statuses=False) as harness:
        assert [code(await harness.send(to(n))) for n in range(7)] == [None] * 5 + [130429] * 2
        clock.move(seconds=0.5)
        assert code(await harness.send(to(8))) == 130429
        clock.move(seconds=0.5)
        assert code(await harness.send(to(8))) is None
        assert harness.standin.quota.most_in_a_second == 5


async def test_one_user_gets_a_burst_and_then_a_message_every_six_seconds() -> None:
    clock = StandinClock()
    async with world_of(clock=clock, pair_limit=True, statuses=False) as harness:
        assert [code(await harness.send(to(1))) for _ in range(46)] == [None] * 45 + [131056]
        assert code(await harness.send(to(2))) is None
        clock.move(seconds=6)
        assert [code(await harness.send(to(1))) for _ in range(2)] == [None, 131056]


async def test_the_address_of_a_file_is_good_for_five_minutes() -> None:
    clock = StandinClock()
    async with world_of(clock=clock) as harness:
        media_id = harness.standin.files.put("image/png", b"picture").media_id
        url = (await harness.http.get(f"/v24.0/{media_id}", headers=BEARER)).json()["url"]
        path = httpx.URL(url).raw_path.decode()
        clock.move(minutes=5)
        assert (await harness.http.get(path, headers=BEARER)).content == b"picture"
        clock.move(seconds=1)
        assert (await harness.http.get(path, headers=BEARER)).status_code == 404
        assert (await harness.http.get(path)).status_code == 401


async def test_a_number_and_its_subscriptions_can_be_looked_up() -> None:
    async with world_of() as harness:
        shown = await harness.http.get("/v24.0/700?fields=id,display_phone_number,status", headers=BEARER)
        assert shown.json() == {"id": "700", "display_phone_number": "+43 1 23", "status": "CONNECTED"}
        secret = harness.standin.config.numbers[0].app_secret
        for key, wanted in ((secret, None), ("another", 100)):
            proof = hmac.new(key.encode(), b"t-700", hashlib.sha256).hexdigest()
            answer = await harness.http.get("/v24.0/700", params={"appsecret_proof": proof}, headers=BEARER)
            assert code(answer) == wanted
        waba = harness.standin.config.numbers[0].waba_id
        apps = (await harness.http.get(f"/v24.0/{waba}/subscribed_apps", headers=BEARER)).json()["data"]
        assert [app["whatsapp_business_api_data"]["name"] for app in apps] == ["Dispatcher"]
        assert code(await harness.http.get("/v24.0/123/subscribed_apps", headers=BEARER)) == 100
        for path in ("/v24.0/700", f"/v24.0/{waba}/subscribed_apps"):
            assert code(await harness.http.get(path, headers={"Authorization": "Bearer wrong"})) == 190


async def test_templates_are_known_with_their_parameters() -> None:
    async with world_of(templates={"reminder": 1}, statuses=False) as harness:

        def template(name: str, *parameters: str) -> dict[str, Any]:
            given = [{"type": "text", "text": parameter} for parameter in parameters]
            part = {"name": name, "language": {"code": "en"}, "components": [{"type": "body", "parameters": given}]}
            return {**{k: v for k, v in TEXT.items() if k != "text"}, "type": "template", "template": part}

        assert code(await harness.send(template("reminder", "Ana"))) is None
        assert code(await harness.send(template("reminder"))) == 132000
        assert code(await harness.send(template("unknown", "Ana"))) == 132001


def definition(name: str, language: str = "en", **fields: Any) -> dict[str, Any]:
    parts = [{"type": "BODY", "text": "Hi {{name}}, {{day}}"}]
    return {
        "name": name,
        "language": language,
        "status": "APPROVED",
        "category": "UTILITY",
        "components": parts,
        **fields,
    }


async def test_templates_are_listed_page_by_page() -> None:
    templates = [definition(f"notice_{number}") for number in range(5)]
    async with world_of(templates=[*templates, definition("others", waba_id="1")]) as harness:
        address = f"/v24.0/{harness.standin.config.numbers[0].waba_id}/message_templates"
        names, query = [], {"limit": "2", "fields": "name,status"}
        while True:
            answer = (await harness.http.get(address, params=query, headers=BEARER)).json()
            assert all(entry.keys() == {"id", "name", "status"} for entry in answer["data"])
            names += [entry["name"] for entry in answer["data"]]
            if "next" not in answer["paging"]:
                break
            query["after"] = answer["paging"]["cursors"]["after"]
        assert names == [template["name"] for template in templates]
        assert code(await harness.http.get(address, headers={"Authorization": "Bearer wrong"})) == 190
        assert code(await harness.http.get("/v24.0/123/message_templates", headers=BEARER)) == 100


async def test_a_template_is_sent_as_its_definition_says() -> None:
    button = {"type": "BUTTONS", "buttons": [{"type": "URL", "text": "Go", "url": "https://a.example/{{1}}"}]}
    picture = {"type": "HEADER", "format": "IMAGE"}
    templates = [
        definition("named"),
        definition("paused", status="PAUSED"),
        definition("track", components=[{"type": "BODY", "text": "Go"}, button]),
        definition("picture", components=[picture, {"type": "BODY", "text": "Look"}]),
    ]
    body = {"type": "body", "parameters": [
        {"type": "text", "parameter_name": name, "text": "x"} for name in ("day", "name")
    ]}  # fmt: skip
    pressed = {"type": "button", "sub_type": "url", "index": "0", "parameters": [{"type": "text", "text": "1"}]}
    image = {"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]}
    cases: list[tuple[str, str, list[dict[str, Any]], int | None]] = [
        ("named", "en", [body], None),
        ("named", "de", [body], 132001),
        ("named", "en", [], 132000),
        ("named", "en", [{"type": "body", "parameters": [{"type": "text", "text": "x"}] * 2}], 100),
        ("paused", "en", [body], 132015),
        ("track", "en", [pressed], None),
        ("track", "en", [], 131008),
        ("picture", "en", [image], None),
        ("picture", "en", [], 132012),
    ]
    async with world_of(templates=templates, statuses=False) as harness:
        for name, language, components, wanted in cases:
            part = {"name": name, "language": {"code": language}, "components": components}
            message = {**{k: v for k, v in TEXT.items() if k != "text"}, "type": "template", "template": part}
            assert code(await harness.send(message)) == wanted, (name, language, components)


async def test_statuses_may_come_before_the_answer_doubled_and_in_any_order() -> None:
    async with world_of() as harness:
        await harness.tell({"statuses": ["read", "sent", "sent"], "early": True})
        await harness.send()
        assert [status["status"] for status in harness.receiver.statuses] == ["read", "sent", "sent"]


async def test_a_number_has_the_user_id_that_it_was_given() -> None:
    number = digits(TEXT["to"])
    async with world_of(user_ids={number: "AT.123"}) as harness:
        assert (await harness.send()).json()["contacts"] == [{"input": TEXT["to"], "wa_id": number}]
        await harness.standin.drain()
        assert {status["recipient_user_id"] for status in harness.receiver.statuses} == {"AT.123"}
