"""Mails over kept connections to a real server: taken, refused, lost before the final dot or after it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dragoman.channels.email.smtp import Smtp
from dragoman.channels.email.smtp_pool import SmtpPool, SmtpServer
from dragoman.channels.interface import Accepted, Answer, Refused, RetryClass, Unanswered
from dragoman.domain.errors import ConfigurationError
from tests import loop_clock
from tests.mail_server import (
    Certificate,
    MailBehaviour,
    MailServer,
    Phase,
    Security,
    accept,
    answer,
    close_service,
    defer,
    drop,
    greylist,
    hang,
    mail_server,
    reject,
    reject_sender,
)
from tests.ports import free_port
from tests.waiting import PATIENCE_S, STEP_S, eventually, patience

SENDER, RECIPIENT = "shop@shop.example", "ana@home.example"
MESSAGE = b"Subject: hello\r\n\r\nOne line\r\n.\r\n..and dots\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * 300_000
SECRET = "a-secret/of mail"
LONG_S = 10 * PATIENCE_S
"""No time-out: the test ends it by moving the loop's clock once the server hangs."""


@pytest.fixture
async def pool() -> AsyncIterator[SmtpPool]:
    pool = SmtpPool()
    yield pool
    await pool.close()


def named(server: MailServer, **changed: Any) -> SmtpServer:
    """The server as the pool knows it, with the test's patience and authority unless told otherwise."""
    given = {"timeout_s": PATIENCE_S, "answer_timeout_s": PATIENCE_S, "ca_file": _authority(server)} | changed
    url = given.pop("url", server.url)
    return dataclasses.replace(SmtpServer.from_url(url), **given)


def _authority(server: MailServer) -> str | None:
    return None if server.security == "none" else server.ca_file


async def send(pool: SmtpPool, server: MailServer | SmtpServer, **changed: Any) -> Answer:
    given = {"sender": SENDER, "recipient": RECIPIENT, "message": MESSAGE, "message_id": "1@shop.example"} | changed
    async with patience():
        return await pool.send(named(server) if isinstance(server, MailServer) else server, **given)


async def refused(pool: SmtpPool, server: MailServer | SmtpServer, **changed: Any) -> Refused:
    found = await send(pool, server, **changed)
    assert isinstance(found, Refused), found
    assert found.meaning.endswith(".")
    return found


async def unanswered(pool: SmtpPool, server: MailServer | SmtpServer, **changed: Any) -> Unanswered:
    found = await send(pool, server, **changed)
    assert isinstance(found, Unanswered), found
    return found


async def outwaited(
    pool: SmtpPool, server: MailServer, monkeypatch: pytest.MonkeyPatch, *, message: bytes = MESSAGE
) -> Answer:
    """What becomes of a mail when the server hangs, as told, for longer than anybody waits."""
    patient = named(server, timeout_s=LONG_S, answer_timeout_s=LONG_S)
    sending = asyncio.create_task(
        pool.send(patient, sender=SENDER, recipient=RECIPIENT, message=message, message_id="1@shop.example")
    )
    await eventually(lambda: server.hanging == 1)
    with monkeypatch.context() as moved:
        loop_clock.move(moved, LONG_S + 1)
        # It may have been the turn of a later part of the message, whose time has only begun.
        while message is LARGE and not sending.done():
            await asyncio.sleep(STEP_S)
            loop_clock.move(moved, LONG_S + 1)
        return await sending


async def test_a_mail_is_taken_as_it_is(pool: SmtpPool) -> None:
    async with mail_server() as server:
        found = await send(pool, server)
        said = {"code": 250, "said": "taken", "server": f"127.0.0.1:{server.port}"}
        assert found == Accepted("1@shop.example", 250, said)
        (mail,) = await server.receive(1)
        assert (mail.sender, mail.recipients, mail.content) == (SENDER, (RECIPIENT,), MESSAGE)
        assert (mail.is_encrypted, mail.username, mail.message["Subject"]) == (False, None, "hello")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (b"", b"\r\n"),
        (b".", b".\r\n"),
        (b".\r\n.\r\n", b".\r\n.\r\n"),
        (b"a\n.\nMAIL FROM:<x@y>\n", b"a\r\n.\r\nMAIL FROM:<x@y>\r\n"),
        (b"a\r.\rb\r\n.\n\r", b"a\r\n.\r\nb\r\n.\r\n\r\n"),
        (b"no end", b"no end\r\n"),
    ],
)
async def test_no_message_ends_before_its_end(pool: SmtpPool, given: bytes, taken: bytes) -> None:
    async with mail_server() as server:
        assert isinstance(await send(pool, server, message=given), Accepted)
        (mail,) = await server.receive(1)
        assert mail.content == taken


async def test_a_connection_is_used_again_and_no_more_than_four_at_once(pool: SmtpPool) -> None:
    async with mail_server() as server:
        for _ in range(3):
            await send(pool, server)
        assert server.connections == 1
        found = await asyncio.gather(*(send(pool, server, message_id=f"{number}@x") for number in range(60)))
        assert [one.channel_message_id for one in found if isinstance(one, Accepted)] == [f"{n}@x" for n in range(60)]
        assert server.connections <= 4
        assert len(server.inbox) == 63
        await pool.close()
        await eventually(lambda: server.open_connections == 0)
        assert server.commands.count("QUIT") == server.connections


async def test_a_large_message_over_tls(pool: SmtpPool) -> None:
    async with mail_server(security="implicit") as server:
        assert isinstance(await send(pool, server, message=LARGE), Accepted)
        (mail,) = await server.receive(1)
        assert (mail.content, mail.is_encrypted) == (LARGE, True)


async def test_the_null_sender_is_sent(pool: SmtpPool) -> None:
    async with mail_server() as server:
        assert isinstance(await send(pool, server, sender=""), Accepted)
        assert server.inbox[0].sender == ""


@pytest.mark.parametrize(
    ("told", "code", "retry"),
    [
        (defer("MAIL"), 451, RetryClass.RETRY),
        (defer("RCPT"), 451, RetryClass.RETRY),
        (defer("DATA"), 451, RetryClass.RETRY),
        (defer("dot"), 451, RetryClass.RETRY),
        (answer("RCPT", 452, "4.2.2 mailbox full"), 452, RetryClass.RETRY),
        (reject_sender(550), 550, RetryClass.PERMANENT),
        (reject_sender(553), 553, RetryClass.PERMANENT),
        (reject_sender(554), 554, RetryClass.PERMANENT),
        (reject("RCPT"), 550, RetryClass.PERMANENT),
        (reject("DATA", 554), 554, RetryClass.PERMANENT),
        (reject("dot", 552), 552, RetryClass.PERMANENT),
        (answer("MAIL", 530, "log in first"), 530, RetryClass.STOP_CHANNEL),
        (close_service("MAIL"), 421, RetryClass.UNREACHABLE),
        (close_service("RCPT"), 421, RetryClass.UNREACHABLE),
        (close_service("dot"), 421, RetryClass.UNREACHABLE),
        (close_service("connect"), 421, RetryClass.UNREACHABLE),
        (close_service("EHLO"), 421, RetryClass.UNREACHABLE),
        (answer("connect", 450, "busy"), 450, RetryClass.UNREACHABLE),
        (answer("connect", 554, "you are on a list"), 554, RetryClass.STOP_CHANNEL),
    ],
)
async def test_refusals_say_what_to_do(pool: SmtpPool, told: MailBehaviour, code: int, retry: RetryClass) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = told
        found = await refused(pool, server)
        assert (found.code, found.http_status, found.retry, found.message) == (code, code, retry, told.text)
        assert found.answer == {"code": code, "said": told.text, "server": f"127.0.0.1:{server.port}"}
        assert server.inbox == []


async def test_after_a_refusal_the_connection_is_good_for_the_next_mail(pool: SmtpPool) -> None:
    async with mail_server() as server:
        for told in (defer("RCPT"), reject("DATA"), reject("dot"), reject_sender()):
            server.behaviour = {"*": told}
            await refused(pool, server)
            server.behaviour = {}
            assert isinstance(await send(pool, server), Accepted)
        assert server.connections == 1
        assert len(server.inbox) == 4


async def test_each_recipient_is_greylisted_once(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = greylist()
        for address in ("a@home.example", "b@home.example"):
            assert (await refused(pool, server, recipient=address)).retry is RetryClass.RETRY
            assert isinstance(await send(pool, server, recipient=address), Accepted)


async def test_behaviour_goes_by_recipient_and_by_script(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["bad@home.example"] = reject()
        assert (await refused(pool, server, recipient="bad@home.example")).code == 550
        assert isinstance(await send(pool, server), Accepted)
        server.behaviour[RECIPIENT] = [accept(), defer(), accept()]
        assert [type(await send(pool, server)) for _ in range(4)] == [Accepted, Refused, Accepted, Accepted]


async def test_nobody_listens(pool: SmtpPool) -> None:
    found = await refused(pool, SmtpServer(host="127.0.0.1", port=free_port(), tls="none"))
    assert (found.retry, found.code, found.http_status) == (RetryClass.UNREACHABLE, None, 0)
    assert "could not be reached" in found.meaning


@pytest.mark.parametrize("phase", ["connect", "EHLO"])
async def test_a_server_that_never_greets_is_unreachable(
    pool: SmtpPool, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = hang(phase)
        found = await outwaited(pool, server, monkeypatch)
        assert isinstance(found, Refused)
        assert (found.retry, found.meaning) == (RetryClass.UNREACHABLE, "The mail server did not answer in time.")
        server.behaviour["*"] = drop(phase)
        assert (await refused(pool, server)).retry is RetryClass.UNREACHABLE


@pytest.mark.parametrize("phase", ["MAIL", "RCPT", "DATA"])
async def test_lost_before_the_message_is_certainly_not_sent(
    pool: SmtpPool, phase: Phase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = hang(phase)
        found = await outwaited(pool, server, monkeypatch)
        assert isinstance(found, Unanswered)
        assert (found.certain_not_sent, "did not answer in time before" in found.reason) == (True, True)
        server.behaviour["*"] = drop(phase)
        found = await unanswered(pool, server)
        assert (found.certain_not_sent, "broke the connection before" in found.reason) == (True, True)


@pytest.mark.parametrize("security", ["none", "implicit"])
async def test_lost_within_the_message_is_certainly_not_sent(
    pool: SmtpPool, security: Security, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server(security=security) as server:
        server.behaviour["*"] = drop("content")
        assert (await unanswered(pool, server, message=LARGE)).certain_not_sent
        server.behaviour["*"] = hang("content")
        found = await outwaited(pool, server, monkeypatch, message=LARGE)
        assert isinstance(found, Unanswered)
        assert (found.certain_not_sent, "did not answer in time before" in found.reason) == (True, True)
        assert server.inbox == []


async def test_lost_after_the_final_dot_may_have_been_sent(pool: SmtpPool, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = hang("dot")
        found = await outwaited(pool, server, monkeypatch)
        assert isinstance(found, Unanswered)
        assert (found.certain_not_sent, "did not answer in time after" in found.reason) == (False, True)
        for message in (MESSAGE, LARGE):
            server.behaviour["*"] = drop("dot")
            found = await unanswered(pool, server, message=message)
            assert (found.certain_not_sent, "broke the connection after" in found.reason) == (False, True)


@pytest.mark.parametrize(("phase", "certain"), [("MAIL", True), ("dot", False)])
async def test_a_code_that_says_nothing_is_no_answer(pool: SmtpPool, phase: Phase, certain: bool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = answer(phase, 334)
        assert (await unanswered(pool, server)).certain_not_sent is certain
        server.behaviour.clear()
        assert isinstance(await send(pool, server), Accepted)


async def test_what_is_no_smtp_is_no_answer(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = answer("dot", 250, "fine\r\nHTTP/1.1 400 Bad Request")
        assert isinstance(await send(pool, server), Accepted)
        server.behaviour["*"] = answer("connect", 220, "x" * 40_000)
        await pool.close()
        found = await refused(SmtpPool(), server)
        assert (found.retry, "not SMTP" in found.meaning) == (RetryClass.UNREACHABLE, True)


async def test_a_kept_connection_that_died_is_replaced_in_silence(
    pool: SmtpPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server() as server:
        await send(pool, server)
        await server.break_connections()
        assert isinstance(await send(pool, server), Accepted)
        for told in (close_service("MAIL", times=1), drop("MAIL", times=1), drop("RCPT", times=1)):
            server.behaviour["*"] = told
            assert isinstance(await send(pool, server), Accepted), told
        server.behaviour.clear()
        await send(pool, named(server, timeout_s=LONG_S, answer_timeout_s=LONG_S))
        connections = server.connections
        server.behaviour["*"] = hang("MAIL", times=1)
        assert isinstance(await outwaited(pool, server, monkeypatch), Accepted)
        assert server.connections == connections + 1


async def test_a_connection_is_replaced_once_and_a_fresh_one_never(pool: SmtpPool) -> None:
    async with mail_server() as server:
        await send(pool, server)
        server.behaviour["*"] = drop("MAIL")
        assert (await unanswered(pool, server)).certain_not_sent
        assert server.connections == 2
        assert (await unanswered(pool, server)).certain_not_sent
        assert server.connections == 3


async def test_a_connection_that_broke_within_a_message_is_not_replaced(pool: SmtpPool) -> None:
    async with mail_server() as server:
        await send(pool, server)
        server.behaviour["*"] = drop("dot", times=1)
        assert not (await unanswered(pool, server)).certain_not_sent
        assert server.connections == 1


async def test_a_cancelled_mail_closes_its_connection_and_frees_its_place() -> None:
    pool = SmtpPool(most_connections=1)
    phases: tuple[Phase, ...] = ("connect", "MAIL", "DATA", "dot")
    async with mail_server() as server:
        for phase in phases:
            server.behaviour["*"] = hang(phase)
            sending = asyncio.create_task(send(pool, server))
            await eventually(lambda: server.hanging == 1)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            await eventually(lambda: server.open_connections == 0)
            server.behaviour.clear()
            assert isinstance(await send(pool, server), Accepted)
            await pool.close()
            pool = SmtpPool(most_connections=1)
    await pool.close()


async def test_a_message_that_is_cancelled_half_way_is_never_ended(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = hang("content")
        sending = asyncio.create_task(send(pool, server, message=LARGE))
        await eventually(lambda: server.hanging == 1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await server.break_connections()
        assert server.inbox == []


async def test_idle_and_worn_connections_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_server() as server:
        pool = SmtpPool(mails_per_connection=2)
        for _ in range(4):
            await send(pool, server)
        assert server.connections == 2
        await send(pool, server)
        await eventually(lambda: server.open_connections == 1)
        loop_clock.move(monkeypatch, 31)
        await eventually(lambda: server.open_connections == 0)
        assert pool._lanes == {}
        monkeypatch.undo()
        assert isinstance(await send(pool, server), Accepted)
        await pool.close()
        await eventually(lambda: server.open_connections == 0)


async def test_a_closed_pool_sends_nothing(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = [hang("dot")]
        sending = asyncio.create_task(send(pool, server))
        await eventually(lambda: server.hanging == 1)
        await pool.close()
        await server.break_connections()
        assert isinstance(await sending, Unanswered)
        assert (await unanswered(pool, server)).certain_not_sent
        await eventually(lambda: server.open_connections == 0)
        assert pool._lanes == {}


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
async def test_probing_logs_in_and_sends_nothing(pool: SmtpPool, security: Security) -> None:
    async with mail_server(security=security, login=("u", SECRET)) as server:
        async with patience():
            for connections in (1, 2):
                assert await pool.probe(named(server)) is None
                assert server.connections == connections
            await eventually(lambda: server.open_connections == 1)
            wrong = await pool.probe(named(server, url=server.url_with("u", "wrong")))
        assert wrong is not None
        assert (wrong.code, wrong.retry) == (535, RetryClass.STOP_CHANNEL)
        assert isinstance(await send(pool, server), Accepted)
        assert server.connections == 3
        assert [command[:4] for command in server.commands].count("MAIL") == 1
        await pool.close()
        closed = await pool.probe(named(server))
        assert closed is not None
        assert closed.retry is RetryClass.UNREACHABLE


@pytest.mark.parametrize("security", ["none", "starttls", "implicit"])
async def test_logging_in(pool: SmtpPool, security: Security) -> None:
    async with mail_server(security=security, login=("shop@shop.example", SECRET)) as server:
        assert SECRET not in repr(named(server))
        assert isinstance(await send(pool, server), Accepted)
        (mail,) = await server.receive(1)
        assert (mail.username, mail.is_encrypted) == ("shop@shop.example", security != "none")
        wrong = await refused(pool, named(server, url=server.url_with("shop@shop.example", SECRET + "x")))
        assert (wrong.code, wrong.retry) == (535, RetryClass.STOP_CHANNEL)
        none = await refused(pool, named(server, url=server.url_with(None, None)))
        assert (none.code, none.retry) == (530, RetryClass.STOP_CHANNEL)
        server.behaviour["*"] = answer("AUTH", 454, "4.7.0 directory is down")
        later = await refused(pool, named(server, timeout_s=PATIENCE_S + 1))
        assert (later.code, later.retry) == (454, RetryClass.UNREACHABLE)


async def test_a_server_without_logins_gets_no_credentials(pool: SmtpPool) -> None:
    async with mail_server() as server:
        found = await refused(pool, named(server, url=server.url_with("u", SECRET)))
        assert (found.retry, found.code) == (RetryClass.STOP_CHANNEL, None)
        assert "AUTH" not in server.commands


async def test_a_server_that_repeats_the_password_is_not_quoted(pool: SmtpPool) -> None:
    async with mail_server(offers_login=True) as server:
        server.behaviour["*"] = answer("AUTH", 535, f"{SECRET} AHUAYS1zZWNyZXQvb2YgbWFpbA== is wrong")
        found = await refused(pool, named(server, url=server.url_with("u", SECRET)))
        assert found.message == "*** *** is wrong"


async def test_what_a_server_says_is_cut_and_cleaned(pool: SmtpPool) -> None:
    async with mail_server() as server:
        server.behaviour["*"] = answer("RCPT", 550, "a\x00b\x1b[31m\u202e \ud7ff" + "é" * 900)
        found = await refused(pool, server)
        assert (len(found.message), found.message.isprintable()) == (500, True)
        assert found.message.startswith("a b [31m é")


@pytest.mark.parametrize("security", ["starttls", "implicit"])
@pytest.mark.parametrize(
    ("certificate", "said"),
    [("self_signed", "self-signed"), ("wrong_name", "mismatch"), ("expired", "expired")],
)
async def test_a_bad_certificate_stops_the_channel(
    pool: SmtpPool, security: Security, certificate: Certificate, said: str
) -> None:
    async with mail_server(security=security, certificate=certificate, login=("u", SECRET)) as server:
        found = await refused(pool, server)
        assert (found.retry, said in found.meaning) == (RetryClass.STOP_CHANNEL, True), found
        assert "AUTH" not in server.commands
        assert server.inbox == []


@pytest.mark.parametrize("security", ["starttls", "implicit"])
async def test_an_unknown_authority_stops_the_channel(pool: SmtpPool, security: Security) -> None:
    async with mail_server(security=security) as server:
        assert (await refused(pool, named(server, ca_file=None))).retry is RetryClass.STOP_CHANNEL
        found = await refused(pool, named(server, ca_file="/nowhere/ca.pem"))
        assert (found.retry, "cannot be read" in found.meaning) == (RetryClass.STOP_CHANNEL, True)


async def test_starttls_is_required_unless_the_server_is_this_machine(pool: SmtpPool) -> None:
    async with mail_server(login=("u", SECRET)) as server:
        found = await refused(pool, named(server, url=f"{server.url}?tls=starttls"))
        assert (found.retry, "does not offer STARTTLS" in found.meaning) == (RetryClass.STOP_CHANNEL, True)
        assert "AUTH" not in server.commands
        assert isinstance(await send(pool, server), Accepted)
    async with mail_server(security="starttls") as server:
        opportunistic = named(server, url=f"smtp://127.0.0.1:{server.port}")
        assert isinstance(await send(pool, opportunistic), Accepted)
        assert isinstance(await send(pool, dataclasses.replace(opportunistic, tls="none")), Accepted)
        assert [mail.is_encrypted for mail in server.inbox] == [True, False]


@pytest.mark.parametrize("told", [answer("STARTTLS", 454, "no entropy"), drop("STARTTLS"), hang("STARTTLS")])
async def test_tls_that_does_not_come_about_is_unreachable(
    pool: SmtpPool, told: MailBehaviour, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mail_server(security="starttls") as server:
        server.behaviour["*"] = told
        found = await (outwaited(pool, server, monkeypatch) if told.action == "hang" else send(pool, server))
        assert isinstance(found, Refused)
        assert found.retry is RetryClass.UNREACHABLE
        assert not [command for command in server.commands if command.startswith("MAIL")]


async def test_tls_with_a_server_that_speaks_none_is_unreachable(pool: SmtpPool) -> None:
    async with mail_server() as server:
        found = await refused(pool, named(server, tls="implicit"))
        assert (found.retry, "No TLS" in found.meaning) == (RetryClass.UNREACHABLE, True)


@pytest.mark.parametrize(
    "address", ["a@b\r\nRCPT TO:<x@y>", "a@b> SIZE=1", "a b@c", "", "ü@b.example", "@", "a" * 255, "a@b@c", "\ud800@x"]
)
async def test_no_address_says_more_than_an_address(pool: SmtpPool, address: str) -> None:
    async with mail_server() as server:
        found = await refused(pool, server, recipient=address)
        assert (found.retry, found.code) == (RetryClass.PERMANENT, None)
        if address:
            assert (await refused(pool, server, sender=address)).retry is RetryClass.PERMANENT
        assert server.connections == 0


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("smtp://mail.example.org", "mail.example.org", 587, "starttls"),
        ("smtp://u:p@mail.example.org:25", "mail.example.org", 25, "starttls"),
        ("smtps://mail.example.org", "mail.example.org", 465, "implicit"),
        ("smtp://mail.example.org?tls=none", "mail.example.org", 587, "none"),
        ("smtp://u:p@127.0.0.1:25", "127.0.0.1", 25, "opportunistic"),
        ("smtp://[::1]:25", "::1", 25, "opportunistic"),
        ("smtp://u:p@localhost?tls=none", "localhost", 587, "none"),
        ("smtp://localhost?tls=starttls", "localhost", 587, "starttls"),
    ],
)
def test_servers_are_named_by_urls(url: str, host: str, port: int, tls: str) -> None:
    server = SmtpServer.from_url(url)
    assert (server.host, server.port, server.tls) == (host, port, tls)


def test_credentials_in_urls() -> None:
    server = SmtpServer.from_url("smtps://user%40x:p%3A%2Fw@mail.example.org?from=a@b.example")
    assert (server.username, server.password, server.sender) == ("user@x", "p:/w", "a@b.example")
    assert "p:/w" not in repr(server)
    sender = Smtp.from_url("smtps://user%40x:p%3A%2Fw@mail.example.org?from=a@b.example", base_url="http://h")
    assert (sender.sender, sender.tls, sender.password) == ("a@b.example", True, "p:/w")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.org",
        "http://mail.example.org",
        "smtp://u:hush@",
        "smtp://u:hush/hush@h",
        "smtp://u:hush@h:notaport",
        "smtp://u:hush@h:99999",
        "smtp://u:hush@[::1",
        "smtp://u:hush@a b",
        "smtp://u:hush%00@h",
        "smtp://u:hush\ud800@h",
        "smtp://u:hush@h?tls=none",
        "smtp://u:hush@h?tls=maybe",
        "smtps://u:hush@h?tls=none",
    ],
)
def test_bad_urls_are_told_without_their_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        SmtpServer.from_url(url)
    assert "hush" not in str(raised.value)
    assert raised.value.__context__ is None


def test_credentials_never_cross_a_network_in_the_clear() -> None:
    for tls in ("opportunistic", "none"):
        with pytest.raises(ConfigurationError):
            SmtpServer(host="mail.example.org", port=25, username="u", password="p", tls=tls)
