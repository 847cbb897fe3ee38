"""An LMTP server (RFC 2033): takes mails for the mailboxes of all tenants from the mail server in front of us.

Each recipient has an answer of its own. 250 means that the mail is on record. With 451 the mail server keeps it and
comes again; what comes again changes nothing. Nobody logs in here: whoever reaches the port can write to any mailbox,
so that it belongs behind a mail server, and on an address that it alone can reach.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope, Session

from dragoman.channels.interface import MalformedDeliveryError
from dragoman.lmtp.metrics import MAILS
from dragoman.runtime import Runtime
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.inbound.find_mailbox import FoundMailbox, find_mailbox
from dragoman.store.database import UNAVAILABLE

log = structlog.get_logger()

MAX_MAIL_BYTES = 25 * 1024 * 1024

_END = b"\r\n.\r\n"
_NAME = "dragoman"
_COMMANDS = {"*": 100_000, "NOOP": 1000, "VRFY": 20, "HELP": 20, "LHLO": 20}
"""How often a connection may give each command; a mail server keeps one for many mails."""

OK = "250 2.0.0 The mail is on record"
NO_SUCH_MAILBOX = "550 5.1.1 There is no such mailbox here"
TOO_LARGE = f"552 5.3.4 The mail has more than {MAX_MAIL_BYTES // 1024**2} MB"
NO_MAIL = "554 5.6.0 The mail has more lines or headers than are read"
LATER = "451 4.3.0 Not just now, please try again later"
BUSY = "451 4.3.1 Other mails are being received, please try again later"
TOO_MANY_RECIPIENTS = "452 4.5.3 Too many recipients"
TOO_MANY_CONNECTIONS = "421 4.3.2 Too many connections"
NOT_UNDERSTOOD = "501 5.5.2 The command could not be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class LmtpLimits:
    """What clients may take. ``held_bytes`` are those of all mails that are being received or read.

    A client has ``idle_s`` for its next command and ``mail_s`` for a mail; ``answer_s`` is what we take ourselves at
    most until the last answer. ``read_at_once`` mails are taken apart at the same time. ``close_s`` is how long
    mails in hand are waited for when the server is closed.
    """

    connections: int = 64
    recipients: int = 100
    mail_bytes: int = MAX_MAIL_BYTES
    held_bytes: int = 8 * MAX_MAIL_BYTES
    read_at_once: int = 2
    idle_s: float = 60.0
    mail_s: float = 300.0
    answer_s: float = 300.0
    close_s: float = 5.0


class LmtpServer:
    """Listens until it is closed."""

    def __init__(self, runtime: Runtime, limits: LmtpLimits | None = None) -> None:
        self.runtime = runtime
        self.limits = limits or LmtpLimits()
        self.reading = asyncio.Semaphore(self.limits.read_at_once)
        self.connections: set[_LmtpConnection] = set()
        self.held_bytes = 0
        self.is_closing = False
        self.port = 0
        self._listening: asyncio.Server | None = None
        self._all_gone = asyncio.Event()

    async def start(self, listener: socket.socket) -> None:
        """Serve the connections that come to *listener*."""
        # It logs what clients say: addresses. What we want to know is counted, and logged here.
        logging.getLogger("mail.log").setLevel(logging.CRITICAL)
        self.port = listener.getsockname()[1]
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: _LmtpConnection(self), sock=listener)

    async def close(self) -> None:
        """Take no more mails, and let those in hand be answered."""
        self.is_closing = True
        if self._listening is not None:
            self._listening.close()
        for connection in [*self.connections]:
            connection.leave()
        try:
            async with asyncio.timeout(self.limits.close_s):
                while self.connections:
                    self._all_gone.clear()
                    await self._all_gone.wait()
        except TimeoutError:
            for connection in [*self.connections]:
                connection.abort()

    def enter(self, connection: _LmtpConnection) -> bool:
        """Count a connection; False where there are too many."""
        if self.is_closing or len(self.connections) >= self.limits.connections:
            return False
        self.connections.add(connection)
        return True

    def depart(self, connection: _LmtpConnection) -> None:
        """A connection has ended."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_gone.set()


@asynccontextmanager
async def serve_lmtp(
    runtime: Runtime, listener: socket.socket | None, limits: LmtpLimits | None = None
) -> AsyncIterator[LmtpServer | None]:
    """Receive mails on *listener* for as long as the block runs; nothing is done without one."""
    if listener is None:
        yield None
        return
    server = LmtpServer(runtime, limits)
    await server.start(listener)
    log.info("receiving_mail", port=server.port)
    try:
        yield server
    finally:
        await server.close()


class _LmtpEnvelope(Envelope):
    """The mail that is being received: its recipients' mailboxes, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.mailboxes: list[FoundMailbox] = []


class _LmtpHooks:
    """What is decided in a conversation."""

    def __init__(self, server: LmtpServer) -> None:
        self._server = server

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, _: LMTP, session: Session, __: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        """Say what we can: the commands are answered one after the other, so they may be sent together."""
        session.host_name = hostname
        return [*responses[:-1], "250-PIPELINING", responses[-1]]

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, _: LMTP, __: Session, envelope: _LmtpEnvelope, address: str, ___: list[str]
    ) -> str:
        """Look the mailbox up."""
        if len(envelope.rcpt_tos) >= self._server.limits.recipients:
            return TOO_MANY_RECIPIENTS
        try:
            found = await find_mailbox(self._server.runtime, address)
        except UNAVAILABLE as error:
            MAILS.labels("unavailable").inc()
            log.warning("mailbox_not_looked_up", error=error)
            return LATER
        except Exception as error:
            MAILS.labels("failed").inc()
            log.exception("mailbox_not_looked_up", error=error)
            return LATER
        if found is None:
            MAILS.labels("no_mailbox").inc()
            return NO_SUCH_MAILBOX
        envelope.rcpt_tos.append(address)
        envelope.mailboxes.append(found)
        return "250 2.1.5 OK"

    async def handle_exception(self, error: Exception) -> str:
        """What a command led to that is none: an address that its parser chokes on, for instance."""
        log.warning("command_not_understood", error=error)
        return NOT_UNDERSTOOD


class _LmtpConnection(LMTP):
    """A conversation with one client.

    Receiving a mail is our own: the library answers once for all recipients, and keeps each line by itself, so that
    25 MB of line breaks take a gigabyte.
    """

    def __init__(self, server: LmtpServer) -> None:
        super().__init__(
            _LmtpHooks(server),
            data_size_limit=server.limits.mail_bytes,
            enable_SMTPUTF8=True,
            hostname=_NAME,
            ident="LMTP",
            timeout=server.limits.idle_s,
            command_call_limit=_COMMANDS,
            loop=asyncio.get_running_loop(),
        )
        self._of = server
        self._is_turned_away = False
        self._has_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or turn the client away."""
        self._is_turned_away = not self._of.enter(self)
        if self._is_turned_away:
            MAILS.labels("busy").inc()
            assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - a server's connections are
            transport.write(f"{TOO_MANY_CONNECTIONS}\r\n".encode())
            transport.close()
            return
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End, whatever is under way: the client comes again with what was not answered."""
        if not self._is_turned_away:
            super().connection_lost(error)
            self._of.depart(self)

    def eof_received(self) -> bool | None:
        """The client says no more."""
        return False if self._is_turned_away else super().eof_received()

    def leave(self) -> None:
        """End the conversation, once a mail that is being received is answered."""
        if not self._has_mail and self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """End the conversation now."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()

    def _create_envelope(self) -> Envelope:
        return _LmtpEnvelope()

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd's name
        """Receive a mail, and answer for each recipient."""
        if await self.check_helo_needed("LHLO"):
            return
        envelope = self.envelope
        if not isinstance(envelope, _LmtpEnvelope) or not envelope.mailboxes:
            await self.push("503 5.5.1 No recipient was accepted")
            return
        if arg:
            await self.push("501 5.5.4 DATA stands by itself")
            return
        self._has_mail = True
        mail = _IncomingMail(self._of)
        try:
            await self._receive(mail)
            self._reset_timeout(self._of.limits.answer_s)
            for answer in await self._answers(envelope, mail):
                await self.push(answer)
        finally:
            mail.release()
            self._has_mail = False
        self.envelope = self._create_envelope()
        self._reset_timeout()
        if self._of.is_closing:
            self.leave()

    async def _receive(self, mail: _IncomingMail) -> None:
        """Read a mail to its end, in pieces as they come."""
        # The end is a dot by itself on a line: where the mail is empty, on the first one. The client waits for our
        # answer before it sends anything, so that this is the beginning of what is read.
        self._reader.feed_data(b"\r\n")
        self._reset_timeout(self._of.limits.mail_s)
        await self.push("354 End with a dot by itself on a line")
        while True:
            try:
                piece = await self._reader.readuntil(_END)
            except asyncio.LimitOverrunError as more:
                # All but what may be the beginning of the end.
                mail.add(await self._reader.read(more.consumed))
            else:
                mail.add(piece)
                return

    async def _answers(self, envelope: _LmtpEnvelope, mail: _IncomingMail) -> Sequence[str]:
        if mail.refusal is not None:
            return [mail.refusal] * len(envelope.mailboxes)
        try:
            content = mail.content()
        except MemoryError:
            MAILS.labels("failed").inc()
            return [LATER] * len(envelope.mailboxes)
        # The library has the empty sender with its brackets.
        sender = str(envelope.mail_from or "").strip("<>")
        answers: dict[FoundMailbox, str] = {}
        for mailbox in envelope.mailboxes:
            # A mailbox that is named twice, with and without a tag, gets one mail.
            if mailbox not in answers:
                answers[mailbox] = await self._accept(mailbox, content, sender)
        return [answers[mailbox] for mailbox in envelope.mailboxes]

    async def _accept(self, mailbox: FoundMailbox, content: bytes, sender: str) -> str:
        try:
            async with self._of.reading:
                await accept_email(
                    self._of.runtime, mailbox.tenant_id, mailbox.channel_account_id, content, envelope_sender=sender
                )
        except MalformedDeliveryError:
            MAILS.labels("malformed").inc()
            return NO_MAIL
        except UNAVAILABLE as error:
            MAILS.labels("unavailable").inc()
            log.warning("mail_not_accepted", error=error)
            return LATER
        except Exception as error:
            MAILS.labels("failed").inc()
            log.exception("mail_not_accepted", error=error)
            return LATER
        MAILS.labels("accepted").inc()
        return OK


class _IncomingMail:
    """The bytes of one mail as they come; what is too much is read and not kept."""

    def __init__(self, server: LmtpServer) -> None:
        self._server = server
        self._pieces: list[bytes] = []
        self._kept_bytes = 0
        self.refusal: str | None = None

    def add(self, piece: bytes) -> None:
        """Keep *piece*, or drop all of the mail."""
        if self.refusal is not None:
            return
        # The line breaks before and behind, and the dot, are not the mail's.
        if self._kept_bytes + len(piece) > self._server.limits.mail_bytes + len(_END) + 2:
            self._refuse(TOO_LARGE, "too_large")
        elif self._server.held_bytes + len(piece) > self._server.limits.held_bytes:
            self._refuse(BUSY, "busy")
        else:
            self._pieces.append(piece)
            self._kept_bytes += len(piece)
            self._server.held_bytes += len(piece)

    def content(self) -> bytes:
        """Give the mail as its sender wrote it: without the dots that were put before dots."""
        written = b"".join(self._pieces)
        self._pieces.clear()
        return written[: -len(_END) + 2].replace(b"\r\n.", b"\r\n")[2:]

    def release(self) -> None:
        """Make room for others."""
        self._server.held_bytes -= self._kept_bytes
        self._kept_bytes = 0
        self._pieces.clear()

    def _refuse(self, answer: str, counted_as: str) -> None:
        MAILS.labels(counted_as).inc()
        self.refusal = answer
        self.release()
