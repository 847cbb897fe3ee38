"""Hands mails to SMTP servers over connections that are kept, and tells of each what became of it.

The one thing that must never be wrong is whether a mail may have been sent. A server must not deliver a message before
it has read the final dot of DATA (RFC 5321, 4.1.1.4), so the dot is written by itself, after everything before it has
left this process: what fails earlier was certainly not sent.

    smtp://user:password@mail.example.org:587     STARTTLS, which the server must offer
    smtps://user:password@mail.example.org:465    TLS from the start
    smtp://127.0.0.1:25                           a server on this machine: STARTTLS where it is offered
    smtp://relay.internal:25?tls=none             never TLS, and therefore no credentials
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import aiosmtplib

from dragoman.channels.email.outgoing import check_address
from dragoman.channels.interface import Accepted, Answer, LimitError, Refused, RetryClass, Unanswered
from dragoman.domain.errors import ConfigurationError

TlsMode = Literal["implicit", "starttls", "opportunistic", "none"]

THIS_MACHINE = frozenset({"127.0.0.1", "::1", "localhost"})
"""Hosts to which nothing leaves this machine, so that TLS protects nothing."""

_PORTS = {"smtp": 587, "smtps": 465}
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_TLS_IN_URLS: dict[str, TlsMode] = {"none": "none", "starttls": "starttls"}

_CHUNK_BYTES = 64 * 1024
_SAID_CHARS = 500
_QUIT_TIMEOUT_S = 2.0

_SHUTTING_DOWN = "Mail is not sent any more: the process is shutting down."

_SERVICE_CLOSING = 421
_START_INPUT = 354
_LOGIN_CODES = frozenset({530, 534, 535, 538})

_Phase = Literal["greeting", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "message"]
_OPENING: frozenset[_Phase] = frozenset({"greeting", "EHLO", "STARTTLS", "AUTH"})
_REFUSES: dict[_Phase, str] = {
    "greeting": "The mail server does not talk to us",
    "EHLO": "The mail server does not talk to us",
    "STARTTLS": "The mail server does not start TLS",
    "AUTH": "The mail server does not let us log in",
    "MAIL": "The mail server does not take mail from this sender",
    "RCPT": "The mail server does not take mail for this recipient",
    "DATA": "The mail server does not take this mail",
    "message": "The mail server does not take this mail",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Names a mail server and how to speak to it.

    ``tls``: ``implicit`` from the start, ``starttls`` required, ``opportunistic`` STARTTLS where the server offers it,
    ``none`` never. Wherever TLS is used, the certificate and its host name are verified; ``ca_file`` adds an authority
    to those of the system. ``sender`` is the address that the URL names, if any. ``timeout_s`` is for each step,
    ``answer_timeout_s`` for the answer to a whole message, which servers scan before they give it.

    Raises ConfigurationError where credentials could cross a network in the clear.
    """

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: TlsMode = "starttls"
    sender: str | None = None
    ca_file: str | None = None
    timeout_s: float = 20.0
    answer_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if self.username is not None and self.tls in {"opportunistic", "none"} and self.host not in THIS_MACHINE:
            raise ConfigurationError("A mail server gets credentials over TLS alone: leave out tls=none")

    @classmethod
    def from_url(cls, url: str, *, setting: str = "The URL of the mail server") -> SmtpServer:
        """Read which server *url* names. Raises ConfigurationError, which does not repeat the password.

        *setting* begins the error, so that an operator knows where to look.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            # Its text may have a piece of the password: the error is raised below, without it.
            host, port, parts = "", 0, urlsplit("")
        if parts.scheme not in _PORTS or not _HOST.fullmatch(host):
            raise ConfigurationError(f"{setting} must be smtp://host:port or smtps://host:port")
        username, password = (unquote(given) if given else None for given in (parts.username, parts.password))
        if not _can_log_in(username) or not _can_log_in(password):
            raise ConfigurationError(f"{setting} has characters in its credentials that no mail server takes")
        given = dict(parse_qsl(parts.query))
        return cls(
            host=host,
            port=port,
            username=username,
            password=password,
            tls=_tls_mode(parts.scheme, host, given.get("tls"), setting),
            sender=given.get("from"),
        )

    @property
    def name(self) -> str:
        """Give host and port, as they stand in answers."""
        return f"{self.host}:{self.port}"


def _can_log_in(text: str | None) -> bool:
    # NUL separates the fields of AUTH PLAIN; lone surrogates have no UTF-8.
    return text is None or ("\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text))


def _tls_mode(scheme: str, host: str, wanted: str | None, setting: str) -> TlsMode:
    if wanted is not None and (wanted not in _TLS_IN_URLS or scheme == "smtps"):
        raise ConfigurationError(f"{setting} may have ?tls=none or ?tls=starttls, and only with smtp://")
    if wanted is not None:
        return _TLS_IN_URLS[wanted]
    if scheme == "smtps":
        return "implicit"
    return "opportunistic" if host in THIS_MACHINE else "starttls"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    """One mail on its way: checked addresses, and the message as it stands on the wire, without the final dot."""

    sender: bytes
    recipient: bytes
    message: bytes
    message_id: str


def _prepare(sender: str, recipient: str, message: bytes, message_id: str) -> _Transfer:
    lines = message.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not lines.endswith(b"\n"):
        lines += b"\n"
    # After the line ends are made alike: no server can find a final dot in the message (SMTP smuggling).
    stuffed = (b"." if lines.startswith(b".") else b"") + lines.replace(b"\n.", b"\n..")
    return _Transfer(
        # The empty sender is that of mails that nobody shall answer (RFC 5321, 4.5.5).
        sender=check_address(sender, "The sender").encode("ascii") if sender else b"",
        recipient=check_address(recipient, "The recipient").encode("ascii"),
        message=stuffed.replace(b"\n", b"\r\n"),
        message_id=message_id,
    )


class _SmtpConnection:
    """One open connection that has said hello and logged in; used by one task at a time."""

    def __init__(self, server: SmtpServer, client: aiosmtplib.SMTP) -> None:
        transport, protocol = cast(asyncio.WriteTransport, client.transport), client.protocol
        if protocol is None:
            raise aiosmtplib.SMTPServerDisconnected("Connection lost")
        self._server, self._client, self._protocol, self._transport = server, client, protocol, transport
        # drain() then waits until what was written has left the process. Not 0: TLS transports would wait for ever.
        transport.set_write_buffer_limits(high=1, low=0)
        self._writer = asyncio.StreamWriter(transport, protocol, None, asyncio.get_running_loop())
        self._takes_size = client.supports_extension("size")
        self._needs_reset = False
        self._data_begun = self._dot_written = False
        self.mails = 0
        self.closing: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether it looks as if another mail could be sent."""
        return self._client.is_connected

    @property
    def is_replaceable(self) -> bool:
        """Whether it has broken before the message of the last mail was begun."""
        return not self.is_open and not self._data_begun

    async def deliver(self, transfer: _Transfer) -> Answer:
        """Hand over one mail; the connection is closed where it cannot be used any more."""
        self._data_begun = self._dot_written = False
        self.mails += 1
        try:
            return await self._transact(transfer)
        except Exception as error:
            self.abort()
            return self._unanswered(error)
        except BaseException:
            # Cancelled: what the server says next would be taken for the answer to something else.
            self.abort()
            raise

    async def _transact(self, transfer: _Transfer) -> Answer:
        size = (b"SIZE=%d" % len(transfer.message),) if self._takes_size else ()
        if self._needs_reset:
            await self._client.rset()
        self._needs_reset = True
        steps: tuple[tuple[_Phase, tuple[bytes, ...]], ...] = (
            ("MAIL", (b"MAIL", b"FROM:<" + transfer.sender + b">", *size)),
            ("RCPT", (b"RCPT", b"TO:<" + transfer.recipient + b">")),
            ("DATA", (b"DATA",)),
        )
        for phase, command in steps:
            reply = await self._client.execute_command(*command)
            if not (reply.code == _START_INPUT if phase == "DATA" else 200 <= reply.code < 300):
                return self._refused(phase, reply.code, reply.message)
        self._data_begun = True
        for start in range(0, len(transfer.message), _CHUNK_BYTES):
            self._protocol.write(transfer.message[start : start + _CHUNK_BYTES])
            async with asyncio.timeout(self._server.timeout_s):
                await self._writer.drain()
            # drain() does not always wait; the loop tells of a lost connection only when it gets its turn.
            await asyncio.sleep(0)
        self._protocol.write(b".\r\n")
        self._dot_written = True
        reply = await self._protocol.read_response(timeout=self._server.answer_timeout_s)
        self._needs_reset = False
        if not 200 <= reply.code < 300:
            return self._refused("message", reply.code, reply.message)
        return Accepted(transfer.message_id, reply.code, _answer(self._server, reply.code, reply.message))

    def _refused(self, phase: _Phase, code: int, said: str) -> Answer:
        if code == _SERVICE_CLOSING:
            self.abort()
        if 400 <= code < 600:
            return _refusal(self._server, phase, code, said)
        self.abort()
        reason = f"{self._server.name} answered {phase} with the code {code}, which has no meaning there"
        return Unanswered(reason, certain_not_sent=not self._dot_written)

    def _unanswered(self, error: Exception) -> Unanswered:
        what = "did not answer in time" if isinstance(error, TimeoutError) else "broke the connection"
        if isinstance(error, aiosmtplib.SMTPResponseException):
            what = "answered with something that is not SMTP"
        when = "after it had" if self._dot_written else "before it had"
        reason = f"{self._server.name} {what} {when} the whole mail ({type(error).__name__})"
        return Unanswered(reason, certain_not_sent=not self._dot_written)

    async def quit(self) -> None:
        """Take leave of the server and close the connection."""
        try:
            with contextlib.suppress(Exception):
                await self._client.quit(timeout=_QUIT_TIMEOUT_S)
        finally:
            self.abort()

    def leave(self) -> None:
        """Do as :meth:`quit` does, without waiting for the server's goodbye."""
        with contextlib.suppress(Exception):
            self._protocol.write(b"QUIT\r\n")
        self._client.close()

    def abort(self) -> None:
        """Close the connection at once; nothing more of what was written is sent."""
        _abort(self._client, self._transport)


def _abort(client: aiosmtplib.SMTP, transport: asyncio.BaseTransport | None) -> None:
    client.close()
    if transport is not None:
        cast(asyncio.WriteTransport, transport).abort()


class _ServerLane:
    """The connections to one server: those in use are as many as the semaphore gives, the others wait here."""

    def __init__(self, most_connections: int) -> None:
        self.slots = asyncio.Semaphore(most_connections)
        self.idle: list[_SmtpConnection] = []
        self.users = 0

    def take_idle(self) -> _SmtpConnection | None:
        """Return the connection that was used last, if one is still open."""
        while self.idle:
            connection = self.idle.pop()
            if connection.closing is not None:
                connection.closing.cancel()
            if connection.is_open:
                return connection
            connection.abort()
        return None


class SmtpPool:
    """Sends mails for any number of tasks of one event loop, over a few connections to each server.

    No more than *most_connections* are open to a server; one that was idle for *idle_s* or has taken
    *mails_per_connection* mails is closed. *hello_name* is how we introduce ourselves, by default this machine's name.
    """

    def __init__(
        self,
        *,
        most_connections: int = 4,
        idle_s: float = 30.0,
        mails_per_connection: int = 500,
        hello_name: str | None = None,
    ) -> None:
        self._most_connections, self._idle_s, self._mails = most_connections, idle_s, mails_per_connection
        self._hello_name = hello_name or _own_name()
        self._lanes: dict[SmtpServer, _ServerLane] = {}
        self._is_closed = False

    async def send(self, server: SmtpServer, *, sender: str, recipient: str, message: bytes, message_id: str) -> Answer:
        """Hand *message* to *server* for one *recipient*; the answer says what became of it, and is never an error.

        An empty *sender* is the null sender. Accepted has *message_id* as the channel's id.
        """
        lane = self._enter(server)
        try:
            async with lane.slots:
                # Not before it is this mail's turn: of all that wait, each would have its message twice.
                transfer = _prepare(sender, recipient, message, message_id)
                return await self._deliver(server, lane, transfer)
        except LimitError as error:
            return _not_tried(server, str(error), RetryClass.PERMANENT)
        finally:
            self._exit(server, lane)

    async def probe(self, server: SmtpServer) -> Refused | None:
        """Look whether *server* lets us in, over a new connection and without a mail; None where it does."""
        if self._is_closed:
            return _not_tried(server, _SHUTTING_DOWN, RetryClass.UNREACHABLE)
        lane = self._enter(server)
        try:
            async with lane.slots:
                # The new connection takes the place of one that is kept.
                kept = lane.take_idle()
                if kept is not None:
                    await kept.quit()
                opened = await _open(server, self._hello_name)
                if isinstance(opened, Refused):
                    return opened
                self._keep(server, lane, opened)
                return None
        finally:
            self._exit(server, lane)

    async def close(self) -> None:
        """Close the idle connections now, and each other one when its mail is through; nothing is sent any more."""
        self._is_closed = True
        idle = [connection for lane in self._lanes.values() for connection in _all_idle(lane)]
        for server, lane in list(self._lanes.items()):
            self._drop_if_empty(server, lane)
        await asyncio.gather(*(connection.quit() for connection in idle))

    def _enter(self, server: SmtpServer) -> _ServerLane:
        lane = self._lanes.setdefault(server, _ServerLane(self._most_connections))
        lane.users += 1
        return lane

    def _exit(self, server: SmtpServer, lane: _ServerLane) -> None:
        lane.users -= 1
        self._drop_if_empty(server, lane)

    async def _deliver(self, server: SmtpServer, lane: _ServerLane, transfer: _Transfer) -> Answer:
        if self._is_closed:
            return Unanswered(_SHUTTING_DOWN, certain_not_sent=True)
        kept = lane.take_idle()
        if kept is not None:
            answer = await kept.deliver(transfer)
            # Servers close idle connections as they like; that is found out by using one.
            if not kept.is_replaceable:
                self._keep(server, lane, kept)
                return answer
        opened = await _open(server, self._hello_name)
        if isinstance(opened, Refused):
            return opened
        answer = await opened.deliver(transfer)
        self._keep(server, lane, opened)
        return answer

    def _keep(self, server: SmtpServer, lane: _ServerLane, connection: _SmtpConnection) -> None:
        if not connection.is_open:
            return
        if self._is_closed or connection.mails >= self._mails:
            connection.leave()
            return
        lane.idle.append(connection)
        connection.closing = asyncio.get_running_loop().call_later(self._idle_s, self._expire, server, lane, connection)

    def _expire(self, server: SmtpServer, lane: _ServerLane, connection: _SmtpConnection) -> None:
        lane.idle.remove(connection)
        connection.leave()
        self._drop_if_empty(server, lane)

    def _drop_if_empty(self, server: SmtpServer, lane: _ServerLane) -> None:
        # A server whose password was changed is another key: without this its lane would stay for ever.
        if not lane.users and not lane.idle and self._lanes.get(server) is lane:
            del self._lanes[server]


def _all_idle(lane: _ServerLane) -> Iterable[_SmtpConnection]:
    while (connection := lane.take_idle()) is not None:
        yield connection


def _own_name() -> str:
    name = socket.gethostname()
    # Servers want a full name or an address in brackets (RFC 5321, 4.1.3), and a machine may have neither to show.
    return name if "." in name and re.fullmatch(r"[A-Za-z0-9.-]+", name) else "[127.0.0.1]"


async def _open(server: SmtpServer, hello_name: str) -> _SmtpConnection | Refused:
    """Connect, start TLS and log in; Refused says what is in the way."""
    try:
        context = None if server.tls == "none" else await asyncio.to_thread(_tls_context, server.ca_file)
    except OSError as error:
        meaning = "The file with the certificate authorities of the mail server cannot be read."
        return _not_tried(server, meaning, RetryClass.STOP_CHANNEL, said=type(error).__name__)
    client: aiosmtplib.SMTP | None = None
    try:
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            use_tls=server.tls == "implicit",
            start_tls=False,
            tls_context=context,
            local_hostname=hello_name,
            timeout=server.timeout_s,
        )
        refused = await _introduce(server, client)
        connection = None if refused else _SmtpConnection(server, client)
    except Exception as error:
        refused, connection = _explain(server, error), None
    except BaseException:
        if client is not None:
            _abort(client, client.transport)
        raise
    if connection is not None:
        return connection
    if client is not None:
        _abort(client, client.transport)
    return refused or _not_tried(server, "The connection was lost.", RetryClass.UNREACHABLE)


async def _introduce(server: SmtpServer, client: aiosmtplib.SMTP) -> Refused | None:
    await client.connect()
    await _say_hello(client)
    offers_tls = client.supports_extension("starttls")
    if server.tls == "starttls" and not offers_tls:
        meaning = "The mail server does not offer STARTTLS, without which no mail is sent to it."
        return _not_tried(server, meaning, RetryClass.STOP_CHANNEL)
    if server.tls == "starttls" or (server.tls == "opportunistic" and offers_tls):
        await client.starttls()
        await _say_hello(client)
    if server.username is not None:
        if not client.supported_auth_methods:
            meaning = "The mail server offers no way to log in that we know, and credentials are set for it."
            return _not_tried(server, meaning, RetryClass.STOP_CHANNEL)
        await client.login(server.username, server.password or "")
    return None


async def _say_hello(client: aiosmtplib.SMTP) -> None:
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        if not client.is_connected:
            raise
        # A server from before 1995.
        await client.helo()


@lru_cache(maxsize=16)
def _tls_context(ca_file: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if ca_file is not None:
        context.load_verify_locations(cafile=ca_file)
    return context


def _explain(server: SmtpServer, error: Exception) -> Refused:
    """Say why no connection came about; the texts of errors are not shown, for they may have anything in them."""
    certificate = _certificate_error(error)
    if certificate is not None:
        meaning = f"The mail server's certificate is not accepted: {_clean(certificate.verify_message)}."
        return _not_tried(server, meaning, RetryClass.STOP_CHANNEL)
    if isinstance(error, aiosmtplib.SMTPResponseException) and 400 <= error.code < 600:
        return _refusal(server, _phase_of(error), error.code, _without_credentials(server, error.message))
    if isinstance(error, TimeoutError):
        meaning = "The mail server did not answer in time."
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        meaning = "The mail server answered with something that is not SMTP."
    elif isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        meaning = "No TLS could be agreed on with the mail server."
    else:
        meaning = "The mail server could not be reached."
    return _not_tried(server, meaning, RetryClass.UNREACHABLE, said=type(error).__name__)


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__
    return None


def _phase_of(error: aiosmtplib.SMTPResponseException) -> _Phase:
    if isinstance(error, aiosmtplib.SMTPAuthenticationError):
        return "AUTH"
    if isinstance(error, aiosmtplib.SMTPHeloError):
        return "EHLO"
    return "greeting" if isinstance(error, aiosmtplib.SMTPConnectError) else "STARTTLS"


def _refusal(server: SmtpServer, phase: _Phase, code: int, said: str) -> Refused:
    """Judge what a server answered with a code from 400 to 599."""
    sentence = _REFUSES[phase]
    if code == _SERVICE_CLOSING:
        retry, meaning = RetryClass.UNREACHABLE, "The mail server serves nobody just now."
    elif code in _LOGIN_CODES:
        retry, meaning = RetryClass.STOP_CHANNEL, "The mail server wants a login, or does not accept ours."
    elif phase in _OPENING and code < 500:
        retry, meaning = RetryClass.UNREACHABLE, f"{sentence} just now."
    elif phase in _OPENING:
        retry, meaning = RetryClass.STOP_CHANNEL, f"{sentence}."
    elif code < 500:
        retry, meaning = RetryClass.RETRY, f"{sentence} just now; it may later."
    else:
        retry, meaning = RetryClass.PERMANENT, f"{sentence}."
    return Refused(code, code, _clean(said), _answer(server, code, said), retry, meaning)


def _not_tried(server: SmtpServer, meaning: str, retry: RetryClass, *, said: str = "") -> Refused:
    """Refuse without a code: no server has said anything."""
    return Refused(0, None, said, {"code": None, "said": said, "server": server.name}, retry, meaning)


def _answer(server: SmtpServer, code: int, said: str) -> dict[str, Any]:
    return {"code": code, "said": _clean(said), "server": server.name}


def _clean(said: str) -> str:
    """Return a server's words in one line of what can be stored and shown."""
    shown = (character if character.isprintable() else " " for character in said[: 4 * _SAID_CHARS])
    return " ".join("".join(shown).split())[:_SAID_CHARS]


def _without_credentials(server: SmtpServer, said: str) -> str:
    """Return a server's words without our credentials, should it repeat what we sent."""
    user, password = (given or "" for given in (server.username, server.password))
    sent = [f"\x00{user}\x00{password}".encode(), password.encode()]
    for secret in (*(base64.b64encode(given).decode("ascii") for given in sent), password):
        said = said.replace(secret, "***") if secret else said
    return said
