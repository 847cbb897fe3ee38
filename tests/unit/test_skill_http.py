"""One call of a skill behind HTTP, against real servers, and every way in which it can go wrong."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import socket
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.content import Option, Options, Text
from dragoman.domain.nouns import BusinessPartner, HttpTarget, Parameter, ParameterKind, SkillSpec
from dragoman.skills import http as http_skills
from dragoman.skills import verify_signature
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.skills.signing import SigningKey
from tests import loop_clock
from tests.ports import free_port
from tests.skill_server import (
    Behaviour,
    answering,
    certificate,
    drip,
    drip_headers,
    endless,
    endless_headers,
    hang,
    http,
    in_turn,
    large,
    raw,
    serving,
)
from tests.waiting import PATIENCE_S, patience

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
LOOPBACK = AllowList.parse("127.0.0.0/8")
KEYS = (SigningKey("sk_old", "dsk_old-secret"), SigningKey("sk_new", "dsk_new-secret"))
PARTNER = BusinessPartner(business_partner_id=UUID(int=3), number="BP-1", name="Acme")
FINE = {"replies": ["fine"]}
ENOUGH = 10 * PATIENCE_S
"""Seconds, for calls of which something else than a time-out is expected."""


def clock() -> datetime:
    return NOW


def spec(url: str, *, allow_private: bool = True, answer: dict[str, Any] | None = None) -> SkillSpec:
    secret = Parameter(name="pin", kind=ParameterKind.TEXT, secret=True)
    return SkillSpec(
        name="demo.it",
        label="It",
        version="7",
        parameters=(secret,),
        cost_micros=70,
        http=HttpTarget(url=url, allow_private=allow_private, answer=answer),
    )


def call(timeout: float = ENOUGH, **parameters: Any) -> InvokeSkill:
    return InvokeSkill(
        skill="demo.it",
        skill_version="7",
        parameters=parameters,
        attempt=2,
        timeout_seconds=timeout,
        idempotency_key="dispatch:demo.it",
        contact_id=UUID(int=1),
        locale="de",
        business_partner=PARTNER,
        message_id="wamid.A",
    )


async def attempt(
    url: str, *, skills: HttpSkills | None = None, seconds: float = ENOUGH, **target: Any
) -> SkillReturned | SkillRaised:
    made = skills or HttpSkills(LOOPBACK)
    try:
        return await made.invoke(spec(url, **target), call(seconds, pin="4711"), KEYS, clock)
    finally:
        if skills is None:
            await made.aclose()


async def result_of(behaviour: Behaviour, *, seconds: float = ENOUGH, **target: Any) -> SkillReturned | SkillRaised:
    async with serving(behaviour) as server:
        return await attempt(server.url(), seconds=seconds, **target)


async def failure_of(behaviour: Behaviour, *, seconds: float = ENOUGH, **target: Any) -> SkillRaised:
    result = await result_of(behaviour, seconds=seconds, **target)
    assert isinstance(result, SkillRaised), result
    assert len(result.message) <= 500
    return result


async def test_the_skill_is_told_who_asks_and_for_what() -> None:
    async with serving(answering(FINE)) as server:
        skills = HttpSkills(LOOPBACK)
        result = await skills.invoke(spec(server.url("/a?b=c")), call(3600, number="VF-1", grösse=2), KEYS, clock)
        await skills.aclose()
    assert isinstance(result, SkillReturned)
    (request,) = server.received
    assert request.path == "/a?b=c"
    assert request.json == {
        "skill": "demo.it",
        "version": "7",
        "parameters": {"number": "VF-1", "grösse": 2},
        "contact": {
            "id": str(UUID(int=1)),
            "locale": "de",
            "business_partner": {"id": str(UUID(int=3)), "number": "BP-1", "name": "Acme"},
        },
        "message": {"id": "wamid.A"},
        "attempt": 2,
        "idempotency_key": "dispatch:demo.it",
        "deadline": "2026-03-02T10:00:00+00:00",
    }
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["idempotency-key"] == "dispatch:demo.it"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-encoding"] == "identity"
    assert request.headers["dragoman-key-id"] == "sk_old,sk_new"


async def test_the_request_is_signed_with_every_key_in_use() -> None:
    async with serving(answering(FINE)) as server:
        await attempt(server.url())
    (request,) = server.received
    for key in KEYS:
        assert verify_signature(request.headers, request.body, [key.secret], now=NOW + timedelta(seconds=299))
    assert not verify_signature(request.headers, request.body, ["dsk_other"], now=NOW)
    assert not verify_signature(request.headers, request.body + b" ", [KEYS[0].secret], now=NOW)


async def test_replies_options_data_resolve_and_cost_come_back() -> None:
    body = {
        "replies": ["one", {"text": "two"}, {"text": "three", "options": [{"id": "skill:a.b", "title": "Do it"}]}],
        "data": {"n": [1, None, 2.5, {"deep": True}]},
        "resolve": True,
        "cost_micros": 3,
    }
    result = await result_of(answering(body))
    assert isinstance(result, SkillReturned), result
    assert result.replies == (
        Text("one"),
        Text("two"),
        Options(body="three", options=(Option(id="skill:a.b", title="Do it"),)),
    )
    assert (result.data, result.resolve, result.cost_micros) == (body["data"], True, 3)
    assert result.at == NOW
    assert result.duration_ms > 0


async def test_what_the_answer_leaves_out_has_its_default() -> None:
    result = await result_of(http(b'{"replies": ["ok"]}', status=201, headers={"Content-Type": "application/x+json"}))
    assert isinstance(result, SkillReturned), result
    assert (result.data, result.resolve, result.cost_micros) == ({}, False, 70)


async def test_connections_are_kept_open_between_calls() -> None:
    async with serving(answering(FINE)) as server:
        skills = HttpSkills(LOOPBACK)
        for _ in range(3):
            assert isinstance(await attempt(server.url(), skills=skills), SkillReturned)
        await skills.aclose()
    assert (server.connections, len(server.received)) == (1, 3)


def reply(**fields: Any) -> bytes:
    return json.dumps({"replies": ["x"], **fields}).encode()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "empty"),
        (b"{", "no JSON"),
        (b"hello", "no JSON"),
        (b'{"replies": ["\xff"]}', "not UTF-8"),
        (b'{"replies": ["x"], "data": {"n": NaN}}', "NaN"),
        (b'{"replies": ["x"], "data": {"n": -Infinity}}', "-Infinity"),
        (b'{"replies": ["x"], "data": {"n": 1e999}}', "too large"),
        (b'{"replies": ["x"], "data": {"n": ' + b"9" * 9000 + b"}}", "too large"),
        (b"[" * 100_000, "nested"),
        (b'{"replies": ["x"], "data": ' + b'{"a":' * 60 + b"1" + b"}" * 61, "nested"),
        (b"null", "no JSON object"),
        (b'["x"]', "no JSON object"),
        (b"{}", "replies: Field required"),
        (b'{"replies": []}', "replies"),
        (b'{"replies": "text"}', "replies"),
        (b'{"replies": [3]}', "replies.0"),
        (b'{"replies": ["  "]}', "replies.0.text: there is no text"),
        (b'{"replies": ["\\ud800"]}', "replies.0.text"),
        (b'{"replies": [{"text": "x", "colour": "red"}]}', "colour"),
        (b'{"replies": [{"text": "x", "options": [{"id": "a"}]}]}', "title"),
        (
            b'{"replies": [{"text": "x", "options": [{"id": "a", "title": "A"}, {"id": "a", "title": "B"}]}]}',
            "same id",
        ),
        (json.dumps({"replies": ["x"] * 11}).encode(), "replies"),
        (json.dumps({"replies": ["x" * 16385]}).encode(), "16384"),
        (reply(data=[1]), "data"),
        (reply(resolve="yes"), "resolve"),
        (reply(resolve=1), "resolve"),
        (reply(cost_micros=-1), "cost_micros"),
        (reply(cost_micros=1.5), "cost_micros"),
        (reply(cost_micros=10**15), "cost_micros"),
        (reply(extra=1), "extra"),
    ],
)
async def test_an_answer_that_is_none_is_the_skills_error(body: bytes, told: str) -> None:
    result = await failure_of(http(body))
    assert result.error_class == "InvalidAnswerError"
    assert told in result.message
    assert not result.retryable


async def test_the_answers_data_must_fit_the_manifests_schema() -> None:
    schema = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
    good = await result_of(answering({"replies": ["x"], "data": {"total": 3}}), answer=schema)
    assert isinstance(good, SkillReturned)
    bad = await failure_of(answering({"replies": ["x"], "data": {"total": "3"}}), answer=schema)
    assert (bad.error_class, bad.retryable) == ("InvalidAnswerError", False)
    assert "data.total" in bad.message


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(s, True) for s in (408, 425, 429, 500, 502, 503, 504)] + [(s, False) for s in (400, 401, 404, 409, 422, 501)],
)
async def test_which_statuses_are_tried_again(status: int, retryable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_skills, "_EXCERPT_SECONDS", PATIENCE_S)
    result = await failure_of(http(b'{"detail": "no such \x07 order"}', status=status))
    assert (result.error_class, result.retryable) == ("HttpStatusError", retryable)
    assert f"HTTP {status}" in result.message
    assert '"no such order"' in result.message


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [(429, "7", 7.0), (503, "0", 0.0), (500, "7", None), (429, "-1", None), (429, "soon", None), (503, "9" * 40, None)],
)
async def test_the_pause_that_the_skill_asks_for(status: int, header: str, seconds: float | None) -> None:
    result = await failure_of(http(b"", status=status, headers={"Retry-After": header}))
    assert result.retry_after_seconds == seconds


async def test_an_error_page_that_drips_does_not_hold_the_status_back_for_long() -> None:
    async def behaviour(request: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 9999\r\n\r\nbroken")
        await writer.drain()
        await asyncio.Event().wait()

    assert http_skills._EXCERPT_SECONDS <= 1
    async with patience():
        result = await failure_of(behaviour)
    assert result.error_class == "HttpStatusError"
    assert result.message.endswith("HTTP 500: broken")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(status: int) -> None:
    async with serving(answering(FINE)) as elsewhere:
        location = {"Location": elsewhere.url("/next")}
        result = await failure_of(http(b"", status=status, headers=location))
    assert (result.error_class, result.retryable) == ("RedirectError", False)
    assert elsewhere.url("/next") in result.message
    assert elsewhere.received == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/html"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "jsonish/json"},
        {"Content-Encoding": "gzip"},
    ],
)
async def test_an_answer_that_is_not_plain_json_by_its_head(headers: dict[str, str]) -> None:
    result = await failure_of(http(json.dumps(FINE).encode(), headers=headers))
    assert (result.error_class, result.retryable) == ("ContentTypeError", False)


@pytest.mark.parametrize("behaviour", [hang, drip, drip_headers])
async def test_the_deadline_is_for_the_whole_call(behaviour: Behaviour) -> None:
    # A limit for each read would never be reached.
    async with patience():
        result = await failure_of(behaviour, seconds=0.3)
    assert (result.error_class, result.retryable) == ("SkillTimedOut", True)
    assert result.message == "no whole answer within 0.3 seconds"
    assert result.duration_ms >= 300


@pytest.mark.parametrize("behaviour", [large(100, announced=True), large(100, announced=False), endless])
async def test_an_answer_that_is_too_large_is_not_read_to_its_end(behaviour: Behaviour) -> None:
    gc.collect()
    tracemalloc.start()
    try:
        result = await failure_of(behaviour)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (result.error_class, result.retryable) == ("AnswerTooLargeError", False)
    assert peak < 8 * 1024 * 1024


async def test_an_answer_of_the_largest_size_is_taken() -> None:
    body = b'{"replies": ["x"]}'
    async with serving(in_turn(http(body), http(body + b" "))) as server:
        skills = HttpSkills(LOOPBACK, max_answer_bytes=len(body))
        first, second = [await attempt(server.url(), skills=skills) for _ in range(2)]
        await skills.aclose()
    assert isinstance(first, SkillReturned)
    assert isinstance(second, SkillRaised)


async def test_headers_without_end_are_cut() -> None:
    result = await failure_of(endless_headers)
    assert (result.error_class, result.retryable) == ("ProtocolFailedError", False)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"]
)
async def test_a_connection_that_breaks_may_be_tried_again(answer: bytes) -> None:
    result = await failure_of(raw(answer, close=True))
    assert (result.error_class, result.retryable) == ("ConnectionFailedError", True)
    assert "closed the connection" in result.message


async def test_what_is_no_http() -> None:
    result = await failure_of(raw(b"220 mail.example.com ESMTP\r\n\r\n"))
    assert (result.error_class, result.retryable) == ("ProtocolFailedError", False)


async def test_a_server_that_is_not_there() -> None:
    result = await attempt(f"http://127.0.0.1:{free_port()}/")
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("ConnectionFailedError", True)
    assert result.message == "127.0.0.1 refused the connection; is the skill running?"


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "no")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = await attempt("https://skills.invalid/")
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("NameNotFoundError", False)
    assert "skills.invalid" in result.message


async def test_a_self_signed_certificate_is_not_trusted(tmp_path: Path) -> None:
    server_tls, _ = certificate(tmp_path, "127.0.0.1")
    async with serving(answering(FINE), tls=server_tls) as server:
        result = await attempt(server.url())
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("TLSFailedError", False)
    assert "not trusted: self-signed certificate" in result.message
    assert server.received == []


async def test_a_certificate_for_another_name_is_not_trusted(tmp_path: Path) -> None:
    server_tls, client_tls = certificate(tmp_path, "other.test")
    async with serving(answering(FINE), tls=server_tls) as server:
        skills = HttpSkills(LOOPBACK, ssl_context=client_tls)
        result = await attempt(server.url(), skills=skills)
        await skills.aclose()
    assert isinstance(result, SkillRaised)
    assert result.error_class == "TLSFailedError"


async def unencrypted(
    says: bytes, *, seconds: float = ENOUGH, shaking_hands: Callable[[], None] = lambda: None
) -> SkillRaised:
    """What becomes of a TLS handshake with a server that answers it with *says*; it is told when that has begun."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        assert await reader.read(1)
        writer.write(says)
        shaking_hands()

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with patience():
        result = await attempt(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", seconds=seconds)
    for writer in writers:
        writer.close()
    server.close()
    await server.wait_closed()
    assert isinstance(result, SkillRaised)
    return result


async def test_a_server_that_speaks_no_tls() -> None:
    result = await unencrypted(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert (result.error_class, result.retryable) == ("TLSFailedError", False)


async def test_a_handshake_that_hangs_ends_at_the_deadline_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    half = PATIENCE_S / 2
    result = await unencrypted(b"", seconds=half, shaking_hands=lambda: loop_clock.move(monkeypatch, half))
    assert result.error_class == "SkillTimedOut"
    gc.collect()  # an open socket would be a ResourceWarning, and so a failure


async def test_no_key_no_call() -> None:
    async with serving(answering(FINE)) as server:
        skills = HttpSkills(LOOPBACK)
        result = await skills.invoke(spec(server.url()), call(), (), clock)
    assert isinstance(result, SkillRaised)
    assert (result.error_class, result.retryable) == ("SigningKeyError", False)
    assert "skill key add demo.it" in result.message
    assert server.received == []


async def test_neither_keys_nor_secret_parameters_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def echo(request: Any, writer: asyncio.StreamWriter) -> None:
        await http(request.body, status=400)(request, writer)

    failures = [
        await failure_of(echo),
        await failure_of(http(b"{")),
        await failure_of(hang, seconds=0.1),
    ]
    told = " ".join([repr(failures), repr(KEYS), caplog.text])
    assert "dsk_" not in told
    assert "4711" not in " ".join(f.message for f in failures)


async def test_a_call_that_is_cancelled_lets_the_connection_go() -> None:
    async with serving(hang) as server:
        skills = HttpSkills(LOOPBACK)
        task = asyncio.create_task(attempt(server.url(), skills=skills))
        await server.arrived(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await skills.aclose()


async def test_many_calls_that_hang_do_not_hold_up_another_one() -> None:
    async def behaviour(request: Any, writer: asyncio.StreamWriter) -> None:
        await (answering(FINE) if request.path == "/good" else hang)(request, writer)

    async with serving(behaviour) as server:
        skills = HttpSkills(LOOPBACK)
        hanging = [asyncio.create_task(attempt(server.url(), skills=skills)) for _ in range(150)]
        await server.arrived(150)
        async with patience():
            result = await attempt(server.url("/good"), skills=skills)
        assert not any(task.done() for task in hanging), "it did not wait for one of them"
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        await skills.aclose()
    assert isinstance(result, SkillReturned)
