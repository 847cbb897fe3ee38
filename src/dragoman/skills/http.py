"""Calls a skill behind HTTP: a signed request, one deadline for all of it, an answer that is checked.

The request, its signature and the answer are described for receivers in ``docs/http-skills.md``. Whatever the other
side does, the result is a value: it can neither take the worker down, nor hold it beyond the deadline, nor fill its
memory, nor lead it to an address that it may not reach.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

import httpcore
import httpx

from dragoman import __version__
from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.dispatch.redact import without
from dragoman.domain.http_reply import HttpReply, NoReply
from dragoman.domain.nouns import SkillSpec
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import counted
from dragoman.skills.addresses import AllowList, CheckedBackend, Reach, Resolver, checked_url, resolve
from dragoman.skills.call_errors import (
    AnswerTooLargeError,
    ConnectionFailedError,
    ContentTypeError,
    HttpStatusError,
    ProtocolFailedError,
    RedirectError,
    SigningKeyError,
    SkillCallError,
    TLSFailedError,
    shown,
)
from dragoman.skills.http_answer import HttpAnswer, read_answer
from dragoman.skills.http_connections import Connections
from dragoman.skills.signing import SigningKey, signature_headers

Clock = Callable[[], datetime]

MAX_ANSWER_BYTES = 1024 * 1024
MAX_MESSAGE = 500

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
_WITH_RETRY_AFTER = frozenset({429, 503})

_UNQUOTED: Mapping[type[SkillCallError], str] = {
    ContentTypeError: "{host} answered with something that is not plain JSON by its own account",
    ProtocolFailedError: "{host} did not answer in HTTP",
}
"""What is said of these where what the other side sent may not be quoted."""

_EXCERPT_BYTES = 1024
_EXCERPT_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class CallTrace:
    """What went over the wire in one call, as far as it got: filled in while it is made.

    ``answer`` is the body of a successful answer. No key stands in it, only signatures.
    """

    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    status: int | None = None
    answer_headers: Mapping[str, str] = field(default_factory=dict)
    answer: bytes | None = None


class HttpSkills:
    """Calls skills behind HTTP over connections that are kept open between calls. Close it with :meth:`aclose`.

    *allowed* is the operator's list of private hosts; *ssl_context* and *resolver* are for tests. Proxies of the
    environment are not used: they would make the connection where the checks cannot see it.
    """

    def __init__(
        self,
        allowed: AllowList = AllowList(),  # noqa: B008 - it is frozen
        *,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._allowed, self._resolver, self._ssl = allowed, resolver, ssl_context
        self._max_answer_bytes = max_answer_bytes
        # Apart for each reach: a connection that one skill was allowed to make must not serve another.
        self._connections: dict[Reach, Connections] = {}

    async def aclose(self) -> None:
        """Close all connections."""
        while self._connections:
            _, connections = self._connections.popitem()
            await connections.aclose()

    async def invoke(
        self,
        spec: SkillSpec,
        call: InvokeSkill,
        keys: Sequence[SigningKey],
        clock: Clock,
        trace: CallTrace | None = None,
    ) -> SkillReturned | SkillRaised:
        """Make one attempt at the skill of *spec*, which has an HTTP target; *keys* sign the call.

        What is sent and comes back is noted in *trace*. Never raises for what the other side does; only a cancellation
        of the caller passes through.
        """
        started = time.perf_counter()
        failed: tuple[str, str, bool, float | None]
        try:
            async with asyncio.timeout(call.timeout_seconds):
                answer = await self._call(spec, call, keys, clock(), trace or CallTrace())
            elapsed = round((time.perf_counter() - started) * 1000, 3)
            return SkillReturned(
                at=clock(),
                duration_ms=elapsed,
                replies=answer.contents(),
                data=answer.data,
                resolve=answer.resolve,
                cost_micros=spec.cost_micros if answer.cost_micros is None else answer.cost_micros,
            )
        except SkillCallError as error:
            failed = type(error).__name__, str(error), error.may_retry, error.retry_after
        except TimeoutError:
            failed = (
                "SkillTimedOut",
                f"no whole answer within {counted(call.timeout_seconds, 'second', 'seconds')}",
                True,
                None,
            )
        except Exception as error:  # a defect in what we use must end this attempt, not the worker
            failed = type(error).__name__, f"the call failed: {shown(str(error))}", False, None
        error_class, message, retryable, retry_after = failed
        secrets = [str(call.parameters[p.name]) for p in spec.parameters if p.secret and p.name in call.parameters]
        return SkillRaised(
            at=clock(),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
            error_class=error_class,
            message=cut(without(secrets, message), MAX_MESSAGE),
            retryable=retryable,
            retry_after_seconds=retry_after,
        )

    async def fetch(
        self,
        address: str,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float,
    ) -> bytes:
        """A JSON document from an address that a tenant chose, or the answer to a *form* that is posted there.

        The same rules as for a skill that may be private: without encryption only what the operator listed. Raises
        SkillCallError.
        """
        url = checked_url(address, allow_private=True)
        body = b"" if form is None else urlencode(form).encode("ascii")
        sent = {
            "Host": url.netloc.decode("ascii"),
            "User-Agent": f"Dragoman/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **(headers or {}),
        }
        if form is not None:
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
        reach = _reach(url, allow_private=True)
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(reach, url, sent, body, seconds, method="GET" if form is None else "POST")
        except TimeoutError as error:
            within = counted(seconds, "second", "seconds")
            raise ConnectionFailedError(f"{url.host} gave no whole answer within {within}") from error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise _connection_error(url.host, error) from error

    async def post(
        self,
        address: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        allow_private: bool,
        seconds: float,
        most_bytes: int,
    ) -> HttpReply | NoReply:
        """Post a JSON document to an address that a tenant chose, by the same rules as for a skill.

        Every status is a reply, a redirect's too, which is not followed; only a success has its body. Nothing of what
        the other side sent is quoted in a message. The caller has the deadline.
        """
        host = "the server"
        try:
            url = checked_url(address, allow_private=allow_private)
            host = url.host
            sent = {**_headers_of_json(url, body), **headers}
            request = _request("POST", url, sent, body, seconds)
            reach = _reach(url, allow_private=allow_private)
            async with (await self._within(reach)).send(request) as response:
                found = _headers_of(response)
                if not 200 <= response.status < 300:
                    return HttpReply(status=response.status, headers=found)
                _check_headers(host, found, most_bytes)
                return HttpReply(status=response.status, headers=found, body=await _body_of(host, response, most_bytes))
        except SkillCallError as error:
            failed = error
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            failed = _connection_error(host, error, what="server")
        said = _UNQUOTED[type(failed)].format(host=host) if type(failed) in _UNQUOTED else str(failed)
        return NoReply(error_class=type(failed).__name__, message=said, may_retry=failed.may_retry)

    async def notify(
        self, address: str, body: bytes, headers: Mapping[str, str], *, seconds: float
    ) -> HttpReply | NoReply:
        """Post a JSON document to a receiver that a tenant chose, by the same rules as for a skill that may be private.

        Whatever a success says, in whichever type, it is one; a redirect is not followed. The reply has how its body
        begins. The caller has the deadline.
        """
        host = "the receiver"
        try:
            url = checked_url(address, allow_private=True)
            host = url.host
            request = _request("POST", url, {**_headers_of_json(url, body), **headers}, body, seconds)
            async with (await self._within(_reach(url, allow_private=True))).send(request) as response:
                said = await _beginning(response)
                return HttpReply(status=response.status, headers=_headers_of(response), body=said)
        except SkillCallError as error:
            failed, is_certain = error, True
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            failed = _connection_error(host, error, what="receiver")
            is_certain = isinstance(error, httpcore.ConnectError | httpcore.ConnectTimeout)
        return NoReply(
            error_class=type(failed).__name__, message=str(failed), may_retry=failed.may_retry,
            certain_not_sent=is_certain,
        )  # fmt: skip

    async def _call(
        self, spec: SkillSpec, call: InvokeSkill, keys: Sequence[SigningKey], now: datetime, trace: CallTrace
    ) -> HttpAnswer:
        target = spec.http
        if target is None:
            raise TypeError(f"{spec.name} is no skill behind HTTP")
        if not keys:
            raise SigningKeyError(f"{spec.name} has no signing key; `dragoman skill key add {spec.name}` makes one")
        url = checked_url(target.url, allow_private=target.allow_private)
        body = request_body(call, now)
        headers = {
            **_headers_of_json(url, body),
            "Idempotency-Key": call.idempotency_key,
            **signature_headers(body, keys, now=now),
        }
        trace.url, trace.headers, trace.body = target.url, headers, body
        try:
            reach = _reach(url, allow_private=target.allow_private)
            raw = await self._exchange(reach, url, headers, body, call.timeout_seconds, trace=trace)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise _connection_error(url.host, error) from error
        return read_answer(raw, target.answer)

    async def _exchange(
        self,
        reach: Reach,
        url: httpx.URL,
        headers: dict[str, str],
        body: bytes,
        seconds: float,
        *,
        method: str = "POST",
        trace: CallTrace | None = None,
    ) -> bytes:
        """The body of a successful answer."""
        request = _request(method, url, headers, body, seconds)
        async with (await self._within(reach)).send(request) as response:
            found = _headers_of(response)
            if trace is not None:
                trace.status, trace.answer_headers = response.status, found
            await _check_status(url.host, response, found)
            _check_headers(url.host, found, self._max_answer_bytes)
            answer = await _body_of(url.host, response, self._max_answer_bytes)
            if trace is not None:
                trace.answer = answer
            return answer

    async def _within(self, reach: Reach) -> Connections:
        if self._ssl is None and reach is not Reach.LISTED:
            # Reading all authorities' certificates takes a moment that the event loop need not wait for.
            self._ssl = await asyncio.to_thread(httpx.create_ssl_context)
        if reach not in self._connections:
            backend = CheckedBackend(reach, self._allowed, self._resolver)
            self._connections[reach] = Connections(self._ssl, backend)
        return self._connections[reach]


def _request(method: str, url: httpx.URL, headers: dict[str, str], body: bytes, seconds: float) -> httpcore.Request:
    return httpcore.Request(
        method,
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=[(name.encode(), value.encode("ascii")) for name, value in headers.items()],
        content=body,
        extensions={"timeout": {"connect": seconds}},
    )


def _headers_of_json(url: httpx.URL, body: bytes) -> dict[str, str]:
    return {
        "Host": url.netloc.decode("ascii"),
        "User-Agent": f"Dragoman/{__version__}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Accept": "application/json",
        # A compressed answer could be a thousand times as large as what the cap counts.
        "Accept-Encoding": "identity",
    }


def _headers_of(response: httpcore.Response) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}


async def _body_of(host: str, response: httpcore.Response, most: int) -> bytes:
    chunks = bytearray()
    async for chunk in response.aiter_stream():
        chunks += chunk
        if len(chunks) > most:
            raise _too_large(host, most)
    return bytes(chunks)


def request_body(call: InvokeSkill, now: datetime) -> bytes:
    """What the skill is sent: ASCII JSON, so that no middle box can spoil the signature by re-encoding it."""
    partner = call.business_partner
    document = {
        "skill": call.skill,
        "version": call.skill_version,
        "parameters": dict(call.parameters),
        "contact": {
            "id": str(call.contact_id),
            "locale": call.locale,
            "business_partner": partner
            and {"id": str(partner.business_partner_id), "number": partner.number, "name": partner.name},
        },
        "message": {"id": call.message_id},
        "attempt": call.attempt,
        "idempotency_key": call.idempotency_key,
        "deadline": (now + timedelta(seconds=call.timeout_seconds)).isoformat(),
    }
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def _reach(url: httpx.URL, *, allow_private: bool) -> Reach:
    if url.scheme == "http":
        return Reach.LISTED
    return Reach.PUBLIC_OR_LISTED if allow_private else Reach.PUBLIC


async def _check_status(host: str, response: httpcore.Response, headers: dict[str, str]) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        to = shown(headers.get("location", "nowhere"), 120)
        raise RedirectError(
            f"{host} answered with a redirect ({status}) to {to}, which is not followed; the manifest must name the "
            "final URL"
        )
    wait = headers.get("retry-after", "").strip()
    raise HttpStatusError(
        f"{host} answered HTTP {status}{await _excerpt(response)}",
        retryable=status in RETRYABLE_STATUSES,
        retry_after=float(wait) if status in _WITH_RETRY_AFTER and wait.isdecimal() and len(wait) < 9 else None,
    )


async def _excerpt(response: httpcore.Response) -> str:
    """How the answer begins, where it comes quickly: what the skill's author wrote is the best explanation."""
    text = shown((await _beginning(response)).decode("utf-8", "replace"))
    return f": {text}" if text else ""


async def _beginning(response: httpcore.Response) -> bytes:
    """The first bytes of the answer's body, as far as they come quickly."""
    found = bytearray()
    try:
        async with asyncio.timeout(_EXCERPT_SECONDS):
            async for chunk in response.aiter_stream():
                found += chunk
                if len(found) >= _EXCERPT_BYTES:
                    break
    except (TimeoutError, httpcore.NetworkError, httpcore.ProtocolError, OSError):
        pass
    return bytes(found[:_EXCERPT_BYTES])


def _check_headers(host: str, headers: dict[str, str], most: int) -> None:
    given = headers.get("content-type", "")
    kind, _, rest = given.partition(";")
    kind = kind.strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise ContentTypeError(f"{host} answered with content type {shown(given, 80) or 'none'}, not application/json")
    charset = rest.lower().replace(" ", "").replace('"', "").partition("charset=")[2].partition(";")[0]
    if charset not in {"", "utf-8", "utf8", "us-ascii"}:
        raise ContentTypeError(f"{host} answered in charset {shown(charset, 40)}, not UTF-8")
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise ContentTypeError(f"{host} compressed its answer ({shown(encoding, 40)}), which it was asked not to do")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > most:
        raise _too_large(host, most)


def _too_large(host: str, most: int) -> AnswerTooLargeError:
    return AnswerTooLargeError(f"the answer of {host} is larger than {most} bytes; the rest was not read")


def _connection_error(host: str, error: Exception, *, what: str = "skill") -> SkillCallError:
    """What to tell of an error below HTTP."""
    system = next(
        (c for c in _causes(error) if isinstance(c, ssl.SSLError) or (isinstance(c, OSError) and c.errno)), None
    )
    if system is not None:
        return _system_error(host, system, what)
    if isinstance(error, httpcore.TimeoutException):
        return ConnectionFailedError(f"{host} did not take the connection in time")
    if isinstance(error, httpcore.ProtocolError):
        # httpcore has one class for both; only the text says that the other side hung up.
        said = str(error)
        if "disconnected" in said or "closed connection" in said:
            return ConnectionFailedError(f"{host} closed the connection before its answer was whole")
        return ProtocolFailedError(f"{host} did not answer in HTTP: {shown(said, 120)}")
    return ConnectionFailedError(f"the connection with {host} broke")


def _system_error(host: str, error: OSError, what: str) -> SkillCallError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return TLSFailedError(f"the TLS certificate of {host} is not trusted: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return TLSFailedError(f"no TLS connection with {host}: {error.reason or 'the handshake failed'}")
    if error.errno == errno.ECONNREFUSED:
        return ConnectionFailedError(f"{host} refused the connection; is the {what} running?")
    return ConnectionFailedError(f"no connection with {host}: {os.strerror(error.errno or 0)}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
