"""The stand-in plays a contact: what reaches the webhook, and the files that go with it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from graph_standin.people import made_up_user_id
from tests.unit.standin_harness import NOW, OURS, StandinHarness, world_of


@pytest.fixture
async def harness() -> AsyncIterator[StandinHarness]:
    async with world_of() as made:
        yield made


async def play(harness: StandinHarness, payload: Any) -> httpx.Response:
    return await harness.http.post("/inbound", json=payload, headers=OURS)


async def test_a_contact_can_be_played(harness: StandinHarness) -> None:
    payload = {
        "phone_number_id": "701",
        "from": "+43 664 1",
        "name": "Anna",
        "message": {"type": "text", "text": {"body": "Hi"}},
    }
    response = await play(harness, payload)
    assert response.status_code == 200
    wamid = response.json()["wamid"]
    assert response.json() == {"wamid": wamid, "status": 200, "text": ""}
    (value,) = harness.receiver.values
    assert value["metadata"]["phone_number_id"] == "701"
    user_id = made_up_user_id("436641")
    assert user_id.startswith("AT.")
    assert value["contacts"] == [{"profile": {"name": "Anna"}, "wa_id": "436641", "user_id": user_id}]
    assert value["messages"] == [
        {
            "from": "436641",
            "from_user_id": user_id,
            "id": wamid,
            "timestamp": str(int(NOW.timestamp())),
            "type": "text",
            "text": {"body": "Hi"},
        }
    ]
    (body,), (signature,) = harness.receiver.bodies, harness.receiver.signatures
    assert signature == "sha256=" + hmac.new(b"s-701", body, hashlib.sha256).hexdigest()


async def test_staff_can_be_played_who_write_in_the_app_of_the_phone(harness: StandinHarness) -> None:
    message = {"type": "text", "text": {"body": "I will call you"}}
    response = await play(harness, {"phone_number_id": "701", "to": "+43 664 1", "message": message})
    (body,) = map(json.loads, harness.receiver.bodies)
    (change,) = body["entry"][0]["changes"]
    (echo,) = change["value"]["message_echoes"]
    assert change["field"] == "smb_message_echoes"
    assert change["value"]["metadata"]["phone_number_id"] == "701"
    assert echo["from"] == "".join(filter(str.isdigit, change["value"]["metadata"]["display_phone_number"]))
    assert (echo["to"], echo["to_user_id"]) == ("436641", made_up_user_id("436641"))
    assert (echo["id"], echo["text"]) == (response.json()["wamid"], {"body": "I will call you"})


async def test_a_contact_without_number_can_be_played(harness: StandinHarness) -> None:
    await play(harness, {"phone_number_id": "700", "user_id": "AT.1", "message": {"type": "text"}})
    (value,) = harness.receiver.values
    assert value["contacts"] == [{"profile": {"name": "AT.1"}, "user_id": "AT.1"}]
    assert value["messages"][0]["from_user_id"] == "AT.1"
    assert "from" not in value["messages"][0]


async def test_values_and_whole_webhooks_go_out_as_they_are(harness: StandinHarness) -> None:
    await play(harness, {"phone_number_id": "700", "field": "calls", "value": {"calls": [1]}})
    whole = {"object": "o", "entry": [{"changes": [{"value": {"metadata": {"phone_number_id": "701"}}}]}]}
    await play(harness, whole)
    first, second = map(json.loads, harness.receiver.bodies)
    assert first["entry"][0]["changes"][0]["field"] == "calls"
    assert first["entry"][0]["changes"][0]["value"]["calls"] == [1]
    assert second == whole
    expected = hmac.new(b"s-701", harness.receiver.bodies[1], hashlib.sha256).hexdigest()
    assert harness.receiver.signatures[1] == f"sha256={expected}"


async def test_the_webhook_s_refusal_is_told(harness: StandinHarness) -> None:
    harness.receiver.answers = [403]
    response = await play(harness, {"phone_number_id": "700", "from": "431", "message": {"type": "text"}})
    assert (response.status_code, response.json()["status"]) == (502, 403)


@pytest.mark.parametrize(
    "payload",
    [
        [],
        {},
        {"phone_number_id": "999", "from": "431", "message": {}},
        {"phone_number_id": "700", "message": {}},
        {"phone_number_id": "700", "from": "431"},
    ],
)
async def test_what_cannot_be_played_is_refused(harness: StandinHarness, payload: Any) -> None:
    response = await play(harness, payload)
    assert response.status_code == 422
    assert response.json()["detail"]
    assert harness.receiver.bodies == []


async def test_media_go_up_and_come_down(harness: StandinHarness) -> None:
    bearer = {"Authorization": "Bearer t-700"}
    picture = b"\x89PNG picture"
    upload = await harness.http.post(
        "/v24.0/700/media",
        data={"messaging_product": "whatsapp", "type": "image/png"},
        files={"file": ("p.png", picture, "image/png")},
        headers=bearer,
    )
    media_id = upload.json()["id"]
    described = (await harness.http.get(f"/v24.0/{media_id}", headers=bearer)).json()
    digest = hashlib.sha256(picture)
    assert described["mime_type"] == "image/png"
    assert described["sha256"] == digest.hexdigest()
    assert described["file_size"] == len(picture)
    path = httpx.URL(described["url"]).raw_path.decode()
    assert (await harness.http.get(path, headers=bearer)).content == picture
    # An address that nobody was given is none.
    assert (await harness.http.get(path[:-1] + "g", headers=bearer)).status_code == 404
    assert (await harness.http.get(path)).status_code == 401
    assert (await harness.http.get("/v24.0/1", headers=bearer)).json()["error"]["code"] == 100
    message = {"type": "image", "image": {"id": media_id, "caption": "c"}}
    await play(harness, {"phone_number_id": "700", "from": "431", "message": message})
    assert harness.receiver.values[0]["messages"][0]["image"] == {
        "id": media_id,
        "caption": "c",
        "mime_type": "image/png",
        "sha256": base64.b64encode(digest.digest()).decode(),
    }


@pytest.mark.parametrize(
    ("mime_type", "content", "code"),
    [("image/png", b"", 131053), ("image/gif", b"x", 131053), ("image/webp", b"x" * 512001, 131053)],
)
async def test_files_that_meta_would_not_take(
    harness: StandinHarness, mime_type: str, content: bytes, code: int
) -> None:
    response = await harness.http.post(
        "/v24.0/700/media",
        data={"messaging_product": "whatsapp"},
        files={"file": ("f", content, mime_type)},
        headers={"Authorization": "Bearer t-700"},
    )
    assert response.json()["error"]["code"] == code
