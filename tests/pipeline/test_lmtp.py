"""A mail server hands its mails over by LMTP: each recipient's answer, what is tried again, what nobody can hold."""

from __future__ import annotations

import asyncio
import smtplib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import pytest

from dragoman.lmtp import server as lmtp
from dragoman.lmtp.metrics import MAILS
from dragoman.lmtp.server import LmtpLimits, LmtpServer, serve_lmtp
from dragoman.services.channels import manage_mailboxes
from dragoman.services.channels.manage_mailboxes import MailboxSettings
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.inbound.ingest import IngestResult
from dragoman.store.database import Database
from tests.harness import Harness
from tests.little_shop import Calls
from tests.log_output import everything_said
from tests.pipeline.test_email_channel import mail
from tests.pipeline.test_send_mail import ADMIN, MAILBOX, add_mailbox
from tests.waiting import PATIENCE_S, eventually, patience

T = TypeVar("T")
SENDER = "ana.lima@example.org"
LARGE = 200_000


@asynccontextmanager
async def listening(shop: Harness, limits: LmtpLimits | None = None) -> AsyncIterator[LmtpServer]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with serve_lmtp(shop.runtime, listener, limits) as server:
        assert server is not None
        yield server


async def talk(server: LmtpServer, conversation: Callable[[smtplib.LMTP], T]) -> T:
    """Run a conversation in a thread, while the server answers in this one's loop."""

    def run() -> T:
        with smtplib.LMTP("127.0.0.1", server.port, timeout=PATIENCE_S) as client:
            client.ehlo("mx.example")
            return conversation(client)

    return await asyncio.to_thread(run)


def hand_over(
    *recipients: str, body: bytes, sender: str = SENDER, answers: int | None = None
) -> Callable[[smtplib.LMTP], list[int]]:
    """Hand a mail over; the codes of each recipient, then of each that was accepted."""

    def run(client: smtplib.LMTP) -> list[int]:
        code, said = client.mail(sender, ["SMTPUTF8"] if not sender.isascii() else [])
        assert code == 250, said
        asked = [client.rcpt(recipient)[0] for recipient in recipients]
        accepted = asked.count(250)
        if not accepted:
            return asked
        first = client.data(body)[0]
        return [*asked, first, *(client.getreply()[0] for _ in range(accepted - 1))]

    return run


async def messages(shop: Harness) -> list[str]:
    rows = await shop.rows("SELECT content->>'body' AS body FROM message WHERE sender = 'contact' ORDER BY at, ordinal")
    return [row["body"] for row in rows]


def counted(result: str) -> float:
    return float(MAILS.labels(result)._value.get())


@pytest.fixture
async def mailbox(shop: Harness) -> UUID:
    return await add_mailbox(shop, None)


async def test_each_recipient_has_an_answer_and_only_mailboxes_get_the_mail(
    shop: Harness, mailbox: UUID, calls: Calls
) -> None:
    other = await shop.another_tenant("other")
    settings = MailboxSettings(name="Theirs", mails_per_second=0)
    await manage_mailboxes.add_mailbox(other.runtime, other.tenant_id, "help@other.example", settings, ADMIN)
    async with listening(shop) as server:
        body = bytes(mail("answer", "1@example.org"))
        codes = await talk(server, hand_over(MAILBOX, "nobody@shop.example", "HELP@other.example", body=body))
        assert codes == [250, 550, 250, 250, 250]
        await shop.settle()
        for one in (shop, other):
            assert await messages(one) == ["answer"]
        (raw,) = await shop.rows("SELECT body FROM raw_delivery")
        assert raw["body"].startswith(b"Return-Path: <ana.lima@example.org>\r\nFrom: Ana Lima")


async def test_what_stands_behind_a_plus_sign_is_for_the_mailbox_itself_and_once(
    shop: Harness, mailbox: UUID, calls: Calls
) -> None:
    async with listening(shop) as server:
        body = bytes(mail("answer", "1@example.org"))
        before = counted("accepted")
        codes = await talk(server, hand_over("help+orders@shop.example", "Help+x+y@Shop.Example", MAILBOX, body=body))
        assert codes == [250] * 6
        assert counted("accepted") == before + 1
    await shop.settle()
    assert await messages(shop) == ["answer"]
    assert len(await shop.rows("SELECT 1 FROM raw_delivery")) == 1


async def test_one_connection_carries_many_mails_and_dots_stay_dots(shop: Harness, mailbox: UUID) -> None:
    texts = [".", "..", ".a\n\n.\n..b", "", "x" * 5000 + "\n."]

    def run(client: smtplib.LMTP) -> list[int]:
        codes = []
        for number, text in enumerate(texts):
            body = f"From: {SENDER}\r\nMessage-ID: <{number}@example.org>\r\n\r\n".encode()
            codes += hand_over(MAILBOX, body=body + text.replace("\n", "\r\n").encode())(client)
        client.mail(SENDER)
        client.rcpt(MAILBOX)
        client.putcmd("data")
        client.getreply()
        client.send(b".\r\n")
        return [*codes, client.getreply()[0]]

    async with listening(shop) as server:
        assert await talk(server, run) == [250] * 11
        assert server.held_bytes == 0
    rows = await shop.rows("SELECT body FROM raw_delivery ORDER BY at, delivery_id")
    kept = [row["body"].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for row in rows]
    assert kept == [*(text.replace("\n", "\r\n").encode() for text in texts), b""]


async def test_while_the_database_is_away_the_mail_server_keeps_the_mail_and_nothing_is_doubled(
    shop: Harness, mailbox: UUID, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise ConnectionError("no database")

    body = bytes(mail("answer", "1@example.org"))
    async with listening(shop) as server:
        for method in ("tenant", "directory"):
            with monkeypatch.context() as patched:
                patched.setattr(Database, method, away)
                assert (await talk(server, hand_over(MAILBOX, body=body)))[-1] == 451
        assert await shop.rows("SELECT 1 FROM raw_delivery") == []
        for _ in range(2):  # its answer may have been lost
            assert await talk(server, hand_over(MAILBOX, body=body)) == [250, 250]
    await shop.settle()
    assert await messages(shop) == ["answer"]
    assert len(calls.keys) <= 1


async def test_what_breaks_here_is_for_later_and_leaves_no_content_in_a_line(
    shop: Harness, mailbox: UUID, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    words = "secret words"

    async def broken(*_: object, **__: object) -> None:
        raise ValueError(f"{words} of {SENDER}")

    monkeypatch.setattr(lmtp, "accept_email", broken)
    with everything_said("json", capfd) as said:
        async with listening(shop) as server:
            body = bytes(mail(words, "1@example.org"))
            assert await talk(server, hand_over(MAILBOX, body=body)) == [250, 451]
        lines = said()
    assert "mail_not_accepted" in lines
    for word in (words, "example.org", "shop.example"):
        assert word not in lines


async def test_a_mail_that_is_too_large_is_refused_for_each_recipient_and_the_next_one_comes(
    shop: Harness, mailbox: UUID
) -> None:
    large, small = b"x" * 76 + b"\r\n", bytes(mail("answer", "1@example.org"))

    def run(client: smtplib.LMTP) -> list[int]:
        announced = client.mail(SENDER, [f"SIZE={LARGE + 1}"])[0]
        client.rset()
        too_large = hand_over(MAILBOX, "help+x@shop.example", body=large * 100_000)(client)
        return [announced, *too_large, *hand_over(MAILBOX, body=small)(client)]

    async with listening(shop, LmtpLimits(mail_bytes=LARGE)) as server:
        assert await talk(server, lambda client: client.esmtp_features["size"]) == str(LARGE)
        assert await talk(server, run) == [552, 250, 250, 552, 552, 250, 250]
        assert server.held_bytes == 0
    exact = LARGE - len(b"From: a@b.example\r\n\r\n") - 2
    async with listening(shop, LmtpLimits(mail_bytes=LARGE)) as server:
        body = b"From: a@b.example\r\n\r\n" + b"x" * exact + b"\r\n"
        assert len(body) == LARGE
        assert await talk(server, hand_over(MAILBOX, body=body)) == [250, 250]


async def test_all_mails_together_hold_no_more_than_they_may(shop: Harness, mailbox: UUID) -> None:
    async with listening(shop, LmtpLimits(held_bytes=1000)) as server:
        body = bytes(mail("x" * 2000, "1@example.org"))
        assert await talk(server, hand_over(MAILBOX, body=body)) == [250, 451]
        assert await talk(server, hand_over(MAILBOX, body=bytes(mail("x", "2@example.org")))) == [250, 250]


@pytest.mark.parametrize("flood", [b"\r\n" * 600_000, b"a: b\r\n" * 10_000], ids=["lines", "headers"])
async def test_a_flood_of_lines_or_headers_is_refused(shop: Harness, mailbox: UUID, flood: bytes) -> None:
    async with listening(shop) as server:
        assert await talk(server, hand_over(MAILBOX, body=b"From: a@b.example\r\n" + flood)) == [250, 554]
    assert await shop.rows("SELECT 1 FROM raw_delivery") == []


async def test_a_mail_has_no_more_recipients_than_a_hundred(shop: Harness, mailbox: UUID) -> None:
    recipients = [f"help+{number}@shop.example" for number in range(101)]
    async with listening(shop) as server:
        codes = await talk(server, hand_over(*recipients, body=bytes(mail("answer", "1@example.org"))))
    assert codes == [250] * 100 + [452] + [250] * 100


async def test_what_a_machine_wrote_is_taken_and_not_dispatched(shop: Harness, mailbox: UUID, calls: Calls) -> None:
    async with listening(shop) as server:
        body = bytes(mail("answer", "1@example.org"))
        assert await talk(server, hand_over(MAILBOX, body=body, sender="")) == [250, 250]
    await shop.settle()
    assert await messages(shop) == []
    (raw,) = await shop.rows("SELECT items, body FROM raw_delivery")
    assert "no return address" in raw["items"][0]["reason"]
    assert raw["body"].startswith(b"Return-Path: <>\r\n")


async def test_names_beyond_ascii_are_understood(shop: Harness, mailbox: UUID) -> None:
    def run(client: smtplib.LMTP) -> list[int]:
        client.command_encoding = "utf-8"
        return hand_over("nöbody@shop.example", MAILBOX, body=bytes(mail("a", "1@example.org")), sender="änä@x.at")(
            client
        )

    async with listening(shop) as server:
        assert await talk(server, run) == [550, 250, 250]


@pytest.mark.parametrize(
    "command",
    ["MAIL", "MAIL FROM:", "MAIL FROM:<", "MAIL FROM:<a@b> X=", "RCPT TO:<a@b>", "DATA", "EHLO x", "x" * 3000, "\x00",
     "RCPT TO:<" + "(" * 400, "AUTH PLAIN AAAA", "STARTTLS"],
)  # fmt: skip
async def test_what_is_no_command_is_refused_and_the_conversation_goes_on(
    shop: Harness, mailbox: UUID, command: str
) -> None:
    def run(client: smtplib.LMTP) -> list[int]:
        client.send(command.encode() + b"\r\n")
        refused = client.getreply()[0]
        client.rset()
        return [refused, *hand_over(MAILBOX, body=bytes(mail("a", "1@example.org")))(client)]

    async with listening(shop) as server:
        refused, *codes = await talk(server, run)
    assert 400 <= refused < 600
    assert codes == [250, 250]


async def test_a_client_that_hangs_is_left_and_keeps_nobody_waiting(shop: Harness, mailbox: UUID) -> None:
    limits = LmtpLimits(idle_s=0.2, mail_s=0.2, connections=3)
    async with listening(shop, limits) as server, patience():
        hanging = []
        for said in (
            b"",
            b"LHLO x\r\nNOO",
            b"LHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<help@shop.example>\r\nDATA\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            hanging.append((reader, writer))
        # The server ends each of them by itself, and has then forgotten them.
        for reader, writer in hanging:
            while await reader.read(1000):
                pass
            writer.close()
        await eventually(lambda: not server.connections)
        assert server.held_bytes == 0
    async with listening(shop) as server:
        assert await talk(server, hand_over(MAILBOX, body=bytes(mail("a", "1@example.org")))) == [250, 250]


async def test_more_connections_than_may_be_open_are_turned_away(shop: Harness, mailbox: UUID) -> None:
    async with listening(shop, LmtpLimits(connections=2)) as server, patience():
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]
        for reader, _ in held:
            assert (await reader.readline()).startswith(b"220 ")
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.read()).startswith(b"421 4.3.2 ")
        writer.close()
        held[0][1].close()
        await eventually(lambda: len(server.connections) == 1)
        assert await talk(server, hand_over(MAILBOX, body=bytes(mail("a", "1@example.org")))) == [250, 250]
        held[1][1].close()


async def test_a_server_that_is_closed_answers_what_it_has_in_hand(
    shop: Harness, mailbox: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(*given: Any, **named: Any) -> IngestResult:
        begun.set()
        await go_on.wait()
        return await accept_email(*given, **named)

    monkeypatch.setattr(lmtp, "accept_email", slow)
    async with patience(), listening(shop, LmtpLimits(close_s=PATIENCE_S)) as server:
        idle, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await idle.readline()
        handing = asyncio.create_task(talk(server, hand_over(MAILBOX, body=bytes(mail("a", "1@example.org")))))
        await begun.wait()
        closing = asyncio.create_task(server.close())
        assert await idle.read() == b"", "who has nothing in hand is left at once"
        writer.close()
        assert not closing.done()
        go_on.set()
        assert await handing == [250, 250]
        await closing
    assert len(await shop.rows("SELECT 1 FROM raw_delivery")) == 1


async def test_a_client_that_leaves_in_the_middle_leaves_nothing(shop: Harness, mailbox: UUID) -> None:
    async with listening(shop) as server, patience():
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"LHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<help@shop.example>\r\nDATA\r\n")
        while not (await reader.readline()).startswith(b"354"):
            pass
        writer.write(b"From: a@b.example\r\n" * 1000)
        await eventually(lambda: server.held_bytes > 0)
        writer.close()
        await eventually(lambda: not server.connections)
        assert server.held_bytes == 0
    assert await shop.rows("SELECT 1 FROM raw_delivery") == []
