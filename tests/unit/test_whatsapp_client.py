"""What becomes of a call, seen from the client, with Meta's side played by the stand-in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from dragoman.channels.interface import Accepted, Refused, RetryClass, Unanswered
from dragoman.channels.whatsapp.client import GraphClient
from dragoman.channels.whatsapp.errors import MEANINGS, meaning_of
from dragoman.channels.whatsapp.outbound import render
from dragoman.domain import content as c
from dragoman.domain.nouns import Identity
from graph_standin import Number, Standin, StandinConfig, create_app
from tests.ports import free_port
from tests.waiting import PATIENCE_S

NUMBER = Number(phone_number_id="700", token="t-700", app_secret="s")
ANNA = Identity(kind="wa_id", value="431234567")
BODY = render(c.Text("Hello"), recipient=ANNA, reply_to=None, correlation="entry-1")


class Meta:
    """The stand-in in this process, and a client for it."""

    def __init__(self) -> None:
        config = StandinConfig(webhook_url="http://nowhere", control_token="c", numbers=(NUMBER,), statuses=False)
        app = create_app(config)
        self.standin: Standin = app.state.standin
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app=app))
        self.client = GraphClient(self.http, "http://graph.test/")

    async def tell(self, **rule: Any) -> None:
        headers = {"Authorization": "Bearer c"}
        response = await self.http.post("http://graph.test/control", json={"rules": [rule]}, headers=headers)
        assert response.status_code == 200, response.text


@pytest.fixture
async def meta() -> AsyncIterator[Meta]:
    made = Meta()
    yield made
    await made.http.aclose()
    await made.standin.close()


async def test_an_accepted_message_has_an_id(meta: Meta) -> None:
    answer = await meta.client.send("700", "t-700", BODY)
    assert isinstance(answer, Accepted)
    assert answer.channel_message_id.startswith("wamid.")
    assert answer.http_status == 200
    assert answer.answer["contacts"] == [{"input": "431234567", "wa_id": "431234567"}]
    (entry,) = meta.standin.journal.entries
    assert (entry.wamid, entry.request) == (answer.channel_message_id, BODY)


@pytest.mark.parametrize(
    "content",
    [
        c.Options(body="b", options=tuple(c.Option(id=str(n), title=f"t{n}") for n in range(3))),
        c.Options(body="b", options=tuple(c.Option(id=str(n), title=f"t{n}", description="d") for n in range(10))),
        c.Template(name="n", language="de", rendered="r", parameters=("p",)),
        c.Media(media="document", media_id="5", caption="c", filename="f"),
        c.Location(latitude=1, longitude=2),
        c.Reaction(target="wamid.Z", emoji=None),
        c.Text("x" * 4096),
    ],
    ids=lambda content: content.kind,
)
@pytest.mark.parametrize("recipient", [ANNA, Identity(kind="wa_user_id", value="AT.1")])
async def test_all_that_we_render_is_accepted(meta: Meta, content: c.Content, recipient: Identity) -> None:
    body = render(content, recipient=recipient, reply_to="wamid.Q", correlation="c" * 512)
    assert isinstance(await meta.client.send("700", "t-700", body), Accepted)


@pytest.mark.parametrize(
    ("code", "retry"),
    [
        (131000, RetryClass.UNREACHABLE),
        (131056, RetryClass.HOLD_CONTACT),
        (130429, RetryClass.BACK_OFF_NUMBER),
        (80007, RetryClass.BACK_OFF_CHANNEL),
        (368, RetryClass.STOP_CHANNEL),
        (131047, RetryClass.NEEDS_TEMPLATE),
        (131026, RetryClass.PERMANENT),
    ],
)
async def test_the_code_decides_whatever_the_http_status_is(meta: Meta, code: int, retry: RetryClass) -> None:
    for http_status in (400, 403, 429, 500, 503):
        await meta.tell(error=code, http_status=http_status)
        answer = await meta.client.send("700", "t-700", BODY)
        assert isinstance(answer, Refused)
        assert (answer.http_status, answer.code, answer.retry) == (http_status, code, retry)
        assert answer.meaning == MEANINGS[code].meaning
        assert answer.message.startswith(f"(#{code})")
        assert answer.message.endswith("as the stand-in was told")
    assert isinstance(await meta.client.send("700", "t-700", BODY), Accepted)


async def test_a_wrong_token_stops_the_channel(meta: Meta) -> None:
    answer = await meta.client.send("700", "wrong", BODY)
    assert isinstance(answer, Refused)
    assert (answer.http_status, answer.code, answer.retry) == (401, 190, RetryClass.STOP_CHANNEL)


async def test_a_message_that_meta_finds_wrong_is_permanent(meta: Meta) -> None:
    answer = await meta.client.send("700", "t-700", {**BODY, "text": {"body": "x" * 4097}})
    assert isinstance(answer, Refused)
    assert (answer.code, answer.retry) == (100, RetryClass.PERMANENT)


@pytest.mark.parametrize(
    ("http_status", "retry"),
    [
        (500, RetryClass.UNREACHABLE),
        (503, RetryClass.UNREACHABLE),
        (429, RetryClass.BACK_OFF_CHANNEL),
        (403, RetryClass.BACK_OFF_CHANNEL),
        (401, RetryClass.STOP_CHANNEL),
        (404, RetryClass.PERMANENT),
    ],
)
async def test_refusals_that_are_not_json(meta: Meta, http_status: int, retry: RetryClass) -> None:
    await meta.tell(http_status=http_status, raw="<html>\x00</html>")
    answer = await meta.client.send("700", "t-700", BODY)
    assert isinstance(answer, Refused)
    assert (answer.http_status, answer.code, answer.retry) == (http_status, None, retry)
    assert answer.answer == {"text": "<html>\ufffd</html>"}


@pytest.mark.parametrize(
    ("http_status", "raw"),
    [(200, "not json"), (200, "{}"), (200, '{"messages": [{"id": ""}]}'), (502, "<html>"), (504, "")],
)
async def test_answers_that_say_nothing_leave_it_open(meta: Meta, http_status: int, raw: str) -> None:
    await meta.tell(http_status=http_status, raw=raw)
    answer = await meta.client.send("700", "t-700", BODY)
    assert isinstance(answer, Unanswered)
    assert not answer.certain_not_sent


async def test_a_connection_cut_after_acceptance_leaves_it_open(meta: Meta) -> None:
    await meta.tell(drop_connection=True)
    answer = await meta.client.send("700", "t-700", BODY)
    assert isinstance(answer, Unanswered)
    assert not answer.certain_not_sent
    (entry,) = meta.standin.journal.entries
    assert entry.lost
    assert entry.wamid is not None


def failing(error: Callable[[str], httpx.HTTPError]) -> GraphClient:
    def handle(_request: httpx.Request) -> httpx.Response:
        raise error("as told")

    return GraphClient(httpx.AsyncClient(transport=httpx.MockTransport(handle)), "http://graph.test")


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
async def test_what_never_left_is_certain(error: Callable[[str], httpx.HTTPError]) -> None:
    answer = await failing(error).send("700", "t", BODY)
    assert isinstance(answer, Unanswered)
    assert answer.certain_not_sent
    assert "as told" in answer.reason


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.WriteTimeout, httpx.ReadError, httpx.RemoteProtocolError])
async def test_what_may_have_arrived_is_not(error: Callable[[str], httpx.HTTPError]) -> None:
    answer = await failing(error).send("700", "t", BODY)
    assert isinstance(answer, Unanswered)
    assert not answer.certain_not_sent


async def test_nobody_listening_means_not_sent() -> None:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        answer = await GraphClient(http, f"http://127.0.0.1:{free_port()}").send("700", "t", BODY)
    assert isinstance(answer, Unanswered)
    assert answer.certain_not_sent


def error_answer(error: dict[str, Any]) -> GraphClient:
    transport = httpx.MockTransport(lambda _request: httpx.Response(400, json={"error": error}))
    return GraphClient(httpx.AsyncClient(transport=transport), "http://graph.test")


@pytest.mark.parametrize(
    ("error", "code", "message", "retry"),
    [
        ({"code": 131009, "message": "m", "error_data": "plain"}, 131009, "m: plain", RetryClass.PERMANENT),
        ({"code": "131056"}, 131056, "HTTP 400", RetryClass.HOLD_CONTACT),
        ({"code": 999999, "message": "m", "is_transient": True}, 999999, "m", RetryClass.UNREACHABLE),
        ({"code": 999999, "message": "m"}, 999999, "m", RetryClass.PERMANENT),
        ({"code": 200, "message": "m"}, 200, "m", RetryClass.STOP_CHANNEL),
        ({}, None, "HTTP 400", RetryClass.PERMANENT),
    ],
)
async def test_error_objects_in_other_shapes(
    error: dict[str, Any], code: int | None, message: str, retry: RetryClass
) -> None:
    answer = await error_answer(error).send("700", "t", BODY)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.message, answer.retry) == (code, message, retry)


async def test_the_path_names_version_and_number() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"messages": [{"id": "wamid.1"}]})

    http = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    await GraphClient(http, "http://graph.test/", "v25.0").send("7/0", "t", BODY)
    assert str(seen[0].url) == "http://graph.test/v25.0/7%2F0/messages"
    assert seen[0].headers["authorization"] == "Bearer t"


def test_every_known_code_has_one_sentence() -> None:
    for meaning in MEANINGS.values():
        assert meaning.meaning.endswith(".")
        assert meaning.meaning.count(". ") == 0
    assert {meaning.retry for meaning in MEANINGS.values()} == set(RetryClass)
    assert meaning_of(None, http_status=503).retry is RetryClass.UNREACHABLE
