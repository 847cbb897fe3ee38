"""A real SMTP server on a loopback port that does what a test tells it: accept, defer, refuse, hang, drop, speak TLS.

    async with mail_server() as server:
        server.behaviour["bob@shop.example"] = reject()
        server.behaviour["*"] = [defer(), accept(), hang("dot")]
        ...
        (mail,) = await server.receive(1)

It runs in a thread with a loop of its own, so that it answers whatever the test's loop does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email
import email.policy
import ipaddress
import shutil
import socket
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.ports import free_port
from tests.waiting import PATIENCE_S, eventually

Phase = Literal["connect", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "content", "dot"]
"""When something is done: ``DATA`` is the command, ``content`` the middle of the message, ``dot`` its end."""

Action = Literal["accept", "answer", "hang", "drop"]
Security = Literal["none", "starttls", "implicit"]
Certificate = Literal["good", "self_signed", "wrong_name", "expired"]

_RECEIVE_BUFFER_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MailBehaviour:
    """Says what the server does in one phase; ``times`` counts for each recipient, None is always."""

    phase: Phase
    action: Action
    code: int = 250
    text: str = ""
    times: int | None = None


def accept() -> MailBehaviour:
    """Take the mail; of use within a list of behaviours."""
    return MailBehaviour(phase="dot", action="accept")


def answer(phase: Phase, code: int, text: str = "as told", *, times: int | None = None) -> MailBehaviour:
    """Answer a phase with any code."""
    return MailBehaviour(phase=phase, action="answer", code=code, text=text, times=times)


def defer(phase: Phase = "RCPT", *, times: int | None = None) -> MailBehaviour:
    """Answer 451 for now."""
    return answer(phase, 451, "4.3.0 try again later", times=times)


def greylist() -> MailBehaviour:
    """Answer each recipient's first mail with 451, and take the next one."""
    return answer("RCPT", 451, "4.7.1 greylisted", times=1)


def reject(phase: Phase = "RCPT", code: int = 550) -> MailBehaviour:
    """Refuse for good: the recipient, or in another phase the sender (MAIL) or the message (DATA, dot)."""
    return answer(phase, code, "5.1.1 refused")


def reject_sender(code: int = 550) -> MailBehaviour:
    """Refuse the sender for good."""
    return answer("MAIL", code, "5.7.1 sender not allowed")


def close_service(phase: Phase = "MAIL", *, times: int | None = None) -> MailBehaviour:
    """Say 421 and close the connection."""
    return answer(phase, 421, "4.3.2 closing", times=times)


def hang(phase: Phase, *, times: int | None = None) -> MailBehaviour:
    """Never answer that phase; in ``content``, stop reading within the message."""
    return MailBehaviour(phase=phase, action="hang", times=times)


def drop(phase: Phase, *, times: int | None = None) -> MailBehaviour:
    """Break the connection instead of answering; with ``dot`` the whole mail was read, and is not kept."""
    return MailBehaviour(phase=phase, action="drop", times=times)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedMail:
    """A mail that the server took: its envelope, its bytes without dot-stuffing, and how it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    is_encrypted: bool
    username: str | None
    connection: int

    @property
    def message(self) -> EmailMessage:
        """The mail, parsed."""
        parsed = email.message_from_bytes(self.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class _ConnectionEndedError(Exception):
    """The connection is over, as told or because the client left."""


class MailServer:
    """The server; ``inbox``, ``behaviour``, ``connections`` and ``commands`` may be used from any thread.

    ``behaviour`` is by recipient, by sender, or for all under ``*``, looked up in this order. A list is worked off,
    each entry for one mail. ``connections`` counts all there were, ``commands`` are lines as they came (but
    credentials).
    ``hanging`` counts the connections that a behaviour holds just now.
    """

    def __init__(
        self, *, security: Security, certificate: Certificate, login: tuple[str, str] | None, offers_login: bool
    ) -> None:
        self.port = free_port()
        self.inbox: list[ReceivedMail] = []
        self.behaviour: dict[str, MailBehaviour | list[MailBehaviour]] = {}
        self.commands: list[str] = []
        self.connections = 0
        self.hanging = 0
        self.security, self.login = security, login
        self._offers_login = offers_login or login is not None
        self._folder = Path(tempfile.mkdtemp(prefix="mail-server-"))
        self.ca_file = str(self._folder / "ca.pem")
        self._tls = None if security == "none" else _server_context(self._folder, certificate)
        self._counted: dict[int, tuple[MailBehaviour, Counter[str]]] = {}
        self._lock = threading.Lock()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-server", daemon=True)
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The server as settings name it, with the credentials that it demands."""
        return self.url_with(*(self.login or (None, None)))

    def url_with(self, username: str | None, password: str | None) -> str:
        """The server as settings name it, with any credentials."""
        scheme = "smtps" if self.security == "implicit" else "smtp"
        user = f"{quote(username, safe='')}:{quote(password or '', safe='')}@" if username is not None else ""
        query = "?tls=starttls" if self.security == "starttls" else ""
        return f"{scheme}://{user}127.0.0.1:{self.port}{query}"

    @property
    def open_connections(self) -> int:
        """How many connections are open just now."""
        with self._lock:
            return len(self._open)

    async def receive(self, count: int) -> list[ReceivedMail]:
        """Wait until so many mails have been taken, and give them."""
        return await eventually(
            lambda: list(self.inbox) if len(self.inbox) >= count else None, otherwise=lambda: self.commands
        )

    async def start(self) -> None:
        """Listen on the server's port, at first or again."""
        if not self._thread.is_alive():
            self._thread.start()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._listen(), self._loop))

    async def stop(self) -> None:
        """Stop listening and break all connections; connecting is refused until it is started again."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._close(), self._loop))

    async def break_connections(self) -> None:
        """Break all open connections, as a restart of the server would; new ones are taken."""
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._break_connections(), self._loop))

    async def end(self) -> None:
        """Stop for good and remove the certificates."""
        await self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join, PATIENCE_S)
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _listen(self) -> None:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # A small buffer, so that a server that stops reading is noticed by who writes a large message.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        listening.bind(("127.0.0.1", self.port))
        self._server = await asyncio.start_server(
            self._serve, sock=listening, ssl=self._tls if self.security == "implicit" else None
        )

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._break_connections()

    async def _break_connections(self) -> None:
        with self._lock:
            tasks = dict(self._open)
        for task, writer in tasks.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # The loop tells the transports of their end.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            self.connections += 1
            conversation = _Conversation(self, reader, writer, self.connections)
            self._open[task] = writer
        try:
            with contextlib.suppress(_ConnectionEndedError, OSError, EOFError, asyncio.CancelledError):
                await conversation.run()
        finally:
            with self._lock:
                del self._open[task]
            writer.transport.abort()

    def due(self, phase: Phase, sender: str, recipient: str) -> MailBehaviour | None:
        """Give what is to be done in a phase, and count it."""
        with self._lock:
            for key in (recipient, sender, "*"):
                found = self.behaviour.get(key)
                if isinstance(found, list):
                    if found and found[0].phase == phase:
                        return found.pop(0)
                elif found is not None and found.phase == phase:
                    if found.times is None:
                        return found
                    # By identity, as two that are equal are counted apart; kept, so that no other takes its id.
                    kept = self._counted.setdefault(id(found), (found, Counter()))
                    kept[1][recipient] += 1
                    if kept[1][recipient] <= found.times:
                        return found
        return None

    def login_is_offered(self) -> bool:
        """Whether EHLO names AUTH."""
        return self._offers_login

    def tls_context(self) -> ssl.SSLContext | None:
        """Give what STARTTLS uses."""
        return self._tls


class _Conversation:
    """One connection from the greeting on."""

    def __init__(
        self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self._server, self._reader, self._writer, self._number = server, reader, writer, number
        self._is_encrypted = server.security == "implicit"
        self._username: str | None = None
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        if not await self._told("connect"):
            await self._say(220, "mail.test ESMTP")
        while True:
            line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "replace").rstrip("\r\n")
            command, _, rest = line.partition(" ")
            command = command.upper()
            self._server.commands.append("AUTH" if command == "AUTH" else line)
            match command:
                case "EHLO" | "HELO":
                    await self._hello()
                case "STARTTLS":
                    await self._start_tls()
                case "AUTH":
                    await self._log_in(rest)
                case "MAIL":
                    await self._mail(_address_in(rest))
                case "RCPT":
                    await self._recipient(_address_in(rest))
                case "DATA":
                    await self._data()
                case "RSET":
                    self._forget()
                    await self._say(250, "forgotten")
                case "NOOP":
                    await self._say(250, "still here")
                case "QUIT":
                    await self._say(221, "bye")
                    return
                case _:
                    await self._say(502, "not known here")

    async def _say(self, code: int, *lines: str) -> None:
        for number, line in enumerate(lines, 1):
            self._writer.write(f"{code}{' ' if number == len(lines) else '-'}{line}\r\n".encode())
        await self._writer.drain()

    async def _told(self, phase: Phase) -> bool:
        """Do what the test told for a phase; whether it was answered by that."""
        recipient = self._recipients[-1] if self._recipients else ""
        told = self._server.due(phase, self._sender or "", recipient)
        if told is None or told.action == "accept":
            return False
        if told.action == "drop":
            raise _ConnectionEndedError
        if told.action == "hang":
            await self._hang(reading=phase != "content")
        await self._say(told.code, told.text)
        if told.code == 421:
            # Graceful, so that the client reads it before the end.
            self._writer.write_eof() if self._writer.can_write_eof() else None
            await self._reader.read()
            raise _ConnectionEndedError
        return True

    async def _hang(self, *, reading: bool) -> None:
        self._server.hanging += 1
        try:
            if not reading:
                await asyncio.Event().wait()
            while await self._reader.read(_RECEIVE_BUFFER_BYTES):
                pass
        finally:
            self._server.hanging -= 1
        raise _ConnectionEndedError

    async def _hello(self) -> None:
        if await self._told("EHLO"):
            return
        offers = ["mail.test", "SIZE 52428800", "8BITMIME"]
        if self._server.security == "starttls" and not self._is_encrypted:
            offers.append("STARTTLS")
        if self._server.login_is_offered():
            offers.append("AUTH PLAIN LOGIN")
        await self._say(250, *offers)

    async def _start_tls(self) -> None:
        context = self._server.tls_context()
        if await self._told("STARTTLS"):
            return
        if context is None or self._is_encrypted:
            await self._say(502, "no TLS here")
            return
        await self._say(220, "go ahead")
        await self._writer.start_tls(context)
        self._is_encrypted = True

    async def _log_in(self, rest: str) -> None:
        if await self._told("AUTH"):
            return
        method, _, initial = rest.partition(" ")
        try:
            if method.upper() == "PLAIN":
                _, username, password = base64.b64decode(initial).decode().split("\x00")
            else:
                username = base64.b64decode(initial).decode()
                await self._say(334, "UGFzc3dvcmQ6")
                password = base64.b64decode(await self._reader.readuntil(b"\r\n")).decode()
        except ValueError:
            await self._say(501, "unreadable credentials")
            return
        if (username, password) != self._server.login:
            await self._say(535, "5.7.8 credentials invalid")
            return
        self._username = username
        await self._say(235, "welcome")

    def _forget(self) -> None:
        self._sender, self._recipients = None, []

    async def _mail(self, sender: str) -> None:
        if self._sender is not None:
            await self._say(503, "a mail is begun already")
            return
        self._sender = sender
        if await self._told("MAIL"):
            self._forget()
        elif self._server.login is not None and self._username is None:
            self._forget()
            await self._say(530, "5.7.0 authentication required")
        else:
            await self._say(250, "sender ok")

    async def _recipient(self, recipient: str) -> None:
        if self._sender is None:
            await self._say(503, "who from?")
            return
        self._recipients.append(recipient)
        if await self._told("RCPT"):
            self._recipients.pop()
        else:
            await self._say(250, "recipient ok")

    async def _data(self) -> None:
        if not self._recipients or self._sender is None:
            await self._say(503, "who to?")
            return
        if await self._told("DATA"):
            return
        await self._say(354, "end with a dot")
        lines: list[bytes] = []
        while (line := await self._reader.readuntil(b"\r\n")) != b".\r\n":
            lines.append(line.removeprefix(b"."))
            if len(lines) == 1:
                await self._told("content")
        if not await self._told("dot"):
            self._server.inbox.append(
                ReceivedMail(
                    sender=self._sender,
                    recipients=tuple(self._recipients),
                    content=b"".join(lines),
                    is_encrypted=self._is_encrypted,
                    username=self._username,
                    connection=self._number,
                )
            )
            await self._say(250, "taken")
        self._forget()


def _address_in(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


@asynccontextmanager
async def mail_server(
    *,
    security: Security = "none",
    certificate: Certificate = "good",
    login: tuple[str, str] | None = None,
    offers_login: bool = False,
) -> AsyncIterator[MailServer]:
    """Run a mail server for the block.

    With *login*, a username and a password, nothing is taken without them. ``server.ca_file`` is the authority of a
    good certificate.
    """
    server = MailServer(security=security, certificate=certificate, login=login, offers_login=offers_login)
    await server.start()
    try:
        yield server
    finally:
        await server.end()


def _server_context(folder: Path, kind: Certificate) -> ssl.SSLContext:
    """Make an authority and a certificate of it for 127.0.0.1, or one that is bad as told."""
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Test authority", "Test authority", authority_key, authority_key, now, is_authority=True)
    host = "192.0.2.1" if kind == "wrong_name" else "127.0.0.1"
    begin = now - timedelta(days=30) if kind == "expired" else now
    if kind == "self_signed":
        certificate = _certificate("mail.test", "mail.test", key, key, begin, host=host)
    else:
        certificate = _certificate("mail.test", "Test authority", key, authority_key, begin, host=host)
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(written + certificate.public_bytes(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return context


def _certificate(
    subject: str,
    issuer: str,
    key: ec.EllipticCurvePrivateKey,
    signing_key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    *,
    host: str | None = None,
    is_authority: bool = False,
) -> x509.Certificate:
    """Make a certificate that is good from a day before *begin* until ten days after."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = (
        x509.CertificateBuilder(subject_name=names[0], issuer_name=names[1], public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin - timedelta(days=1))
        .not_valid_after(begin + timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()), critical=False)
    )
    if host is not None:
        names_of_host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
        builder = builder.add_extension(names_of_host, critical=False)
    return builder.sign(signing_key, hashes.SHA256())
