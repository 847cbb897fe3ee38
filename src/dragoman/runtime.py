"""The runtime holds the ports in one frozen value: database, HTTP client, clock, ids, queue, skills, settings.

Built once by ``cli`` (or by a test) and handed to every service. What differs between production, the demo with
its moved clock and a test differs here and nowhere else.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import httpx
from cryptography.fernet import Fernet, MultiFernet

from dragoman.channels.email.channel import Email
from dragoman.channels.interface import AccountAccess, AccountClient, Channel, Inbound
from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.classify import Classifier
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Registry
from dragoman.skills.addresses import AllowList
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import SkillInvoker
from dragoman.store.batching import Batchers
from dragoman.store.blobs import Blobs
from dragoman.store.database import Connection, Database
from dragoman.store.embedded import DatabaseURLs

META_GRAPH_URL = "https://graph.facebook.com"

MEDIA_AT_ONCE = 6
"""Files that one process fetches at the same time."""

EXPORTS_AT_ONCE = 1
"""Exports that one process prepares in the background at the same time: each takes as much of a core as it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this installation is set up; the contract lists the variables that they are read from.

    ``secret_key`` encrypts channel credentials: 32 random bytes, URL-safe base64; what ``earlier_secret_key`` has
    encrypted can still be read. ``standin_token`` opens the
    controls of the stand-in for Meta's side, where ``graph_url`` is one. ``http_skill_private`` lists the private
    hosts and networks that skills behind HTTP may be called at. ``pool_size`` is how many connections to PostgreSQL
    this process opens at most (a worker has one more, for its queue). ``skill_hosts`` is how many processes run
    Python skills for a worker (0: they run inside the worker, for debugging), ``skill_memory_mb`` what each may use
    of memory (0: all there is). ``media_url`` is where media are stored (None: a directory beside the data),
    ``checkpoint_url`` where checkpoints are written outside the database; ``checkpoint_minutes`` lie between two at the
    least; ``checkpoint_key`` signs them (32 random bytes, URL-safe base64; None: made once and kept beside the data).
    ``smtp_url`` is the mail server that the installation's own mail goes through (None: none is sent).
    """

    data_directory: Path
    secret_key: str = field(repr=False)
    earlier_secret_key: str | None = field(default=None, repr=False)
    host: str = "127.0.0.1"
    port: int = 8000
    base_url: str = "http://127.0.0.1:8000"
    database_url: str | None = field(default=None, repr=False)
    owner_database_url: str | None = field(default=None, repr=False)
    graph_url: str = META_GRAPH_URL
    graph_url_given: bool = False
    standin_token: str | None = field(default=None, repr=False)
    log_format: str = "text"
    retention_days: int = 90
    lease_seconds: float = 15.0
    webhook_body_limit: int = 4 * 1024 * 1024
    pool_size: int = 16
    skill_hosts: int = 2
    skill_memory_mb: int = 1024
    http_skill_private: AllowList = field(default_factory=AllowList)
    media_url: str | None = None
    checkpoint_url: str | None = None
    checkpoint_minutes: int = 60
    checkpoint_key: str | None = field(default=None, repr=False)
    smtp_url: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Read the settings; raises ConfigurationError, with what to do, where one cannot be used."""
        data_directory = Path(environment.get("DRAGOMAN_DATA_DIR", "var")).resolve()
        host = environment.get("DRAGOMAN_HOST", "127.0.0.1")
        port = _number(environment, "DRAGOMAN_PORT", 8000)
        log_format = environment.get("DRAGOMAN_LOG_FORMAT", "text")
        if log_format not in {"text", "json"}:
            raise ConfigurationError(f"DRAGOMAN_LOG_FORMAT is {log_format!r}; use text or json")
        shown_host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host  # noqa: S104 - compared, not bound
        return cls(
            data_directory=data_directory,
            secret_key=environment.get("DRAGOMAN_SECRET_KEY") or _kept_secret(data_directory),
            earlier_secret_key=environment.get("DRAGOMAN_EARLIER_SECRET_KEY") or None,
            host=host,
            port=port,
            base_url=environment.get("DRAGOMAN_BASE_URL", f"http://{shown_host}:{port}").rstrip("/"),
            database_url=environment.get("DRAGOMAN_DATABASE_URL") or None,
            owner_database_url=environment.get("DRAGOMAN_OWNER_DATABASE_URL") or None,
            graph_url=environment.get("DRAGOMAN_GRAPH_URL", META_GRAPH_URL).rstrip("/"),
            graph_url_given="DRAGOMAN_GRAPH_URL" in environment,
            standin_token=environment.get("DRAGOMAN_STANDIN_TOKEN") or None,
            log_format=log_format,
            retention_days=_number(environment, "DRAGOMAN_RETENTION_DAYS", 90),
            lease_seconds=float(_number(environment, "DRAGOMAN_LEASE_SECONDS", 15)),
            pool_size=_number(environment, "DRAGOMAN_POOL_SIZE", 16, least=4),
            skill_hosts=_number(environment, "DRAGOMAN_SKILL_HOSTS", 2, least=0),
            skill_memory_mb=_number(environment, "DRAGOMAN_SKILL_MEMORY_MB", 1024, least=0),
            http_skill_private=AllowList.parse(environment.get("DRAGOMAN_HTTP_SKILL_PRIVATE", "")),
            media_url=environment.get("DRAGOMAN_MEDIA_URL") or None,
            checkpoint_url=environment.get("DRAGOMAN_CHECKPOINT_URL") or None,
            checkpoint_minutes=_number(environment, "DRAGOMAN_CHECKPOINT_MINUTES", 60),
            checkpoint_key=environment.get("DRAGOMAN_CHECKPOINT_KEY") or None,
            smtp_url=environment.get("DRAGOMAN_SMTP_URL") or None,
        )

    def database_urls(self) -> DatabaseURLs | None:
        """Give the two addresses of a database of the operator's own; None for the embedded one."""
        if self.database_url is None:
            return None
        return DatabaseURLs(self.database_url, self.owner_database_url or self.database_url)


def _number(environment: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    value = environment.get(name, "")
    if not value:
        return default
    if not value.isdecimal() or int(value) < least:
        raise ConfigurationError(f"{name} is {value!r}; use a whole number, {least} or more")
    return int(value)


def _kept_secret(data_directory: Path) -> str:
    path = data_directory / "secret.key"
    if not path.exists():
        data_directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as handle:
            handle.write(Fernet.generate_key().decode())
    return path.read_text().strip()


class Clock(Protocol):
    """Tells the time; the demo and the tests move theirs."""

    def now(self) -> datetime:
        """Read the time, an aware datetime in UTC."""
        ...


class SystemClock:
    """Reads the machine's clock."""

    def now(self) -> datetime:
        """Read the time, in UTC."""
        return datetime.now(UTC)


class TimeOrderedIds:
    """Makes version 7 UUIDs (RFC 9562, 5.7): milliseconds, a counter within them, then random bits.

    Ids of one process sort in the order in which they were made, so that indexes grow at one end.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._last = 0

    def new_id(self) -> UUID:
        """Make a fresh id."""
        stamp = int(self._clock.now().timestamp() * 1000) << 12
        with self._lock:
            # Two clocks' readings may be equal or go back a little; ids must not.
            self._last = stamp if stamp > self._last or self._last - stamp > 1 << 40 else self._last + 1
            value = self._last
        millis, counter = value >> 12, value & 0xFFF
        return UUID(int=millis << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | int.from_bytes(os.urandom(8)) >> 2)

    def jitter(self) -> float:
        """A number in [0, 1) that spreads retries."""
        return secrets.randbelow(1 << 30) / (1 << 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Asks for a wake-up: which job, for which tenant, about whom or what, after which delay."""

    entrypoint: str
    tenant_id: UUID
    key: UUID
    delay: timedelta = timedelta()


class Queue(Protocol):
    """Where wake-ups go: written on the caller's connection, so that they commit with its transaction."""

    async def enqueue(self, connection: Connection, jobs: Sequence[Job]) -> None:
        """Add *jobs*; they become visible to workers when the transaction commits."""
        ...

    async def missing(self, connection: Connection, jobs: Sequence[Job]) -> list[Job]:
        """Those of *jobs* for which nothing is in the queue that may run by now."""
        ...

    def run_after_commit(self, jobs: Sequence[Job]) -> None:
        """Run *jobs* here, now that what they are about is committed.

        Nothing is written for them: if this process dies, or has no worker, the sweep finds what they are about.
        """
        ...


class Keyring:
    """Encrypts what must not be read from the database alone: channel tokens and app secrets.

    What an *earlier* key has encrypted can still be read; what is encrypted now is for ``secret_key``.
    """

    def __init__(self, secret_key: str, earlier: str | None = None) -> None:
        try:
            self._fernet = MultiFernet([Fernet(key) for key in (secret_key, earlier) if key])
            self._key = base64.urlsafe_b64decode(secret_key)
        except ValueError as error:
            raise ConfigurationError(
                "DRAGOMAN_SECRET_KEY (and DRAGOMAN_EARLIER_SECRET_KEY, where it is set) must be 32 random bytes in "
                "URL-safe base64, as `dragoman secret-key` prints"
            ) from error

    def encrypt(self, plain: bytes) -> bytes:
        """Seal *plain*."""
        return self._fernet.encrypt(plain)

    def digest(self, purpose: str, data: bytes) -> bytes:
        """Make a keyed hash (HMAC-SHA256) of *data*, under a key of its own for each *purpose*."""
        key = hmac.digest(self._key, purpose.encode(), "sha256")
        return hmac.digest(key, data, "sha256")

    def decrypt(self, sealed: bytes) -> bytes:
        """What was encrypted. Raises cryptography.fernet.InvalidToken under another key."""
        return self._fernet.decrypt(sealed)


class Mailer(Protocol):
    """Sends the installation's own mail."""

    async def send(self, *, to: str, subject: str, text: str) -> None:
        """Hand over a mail. Raises :class:`~dragoman.domain.errors.MailError`."""
        ...


class ClassifierProvider(Protocol):
    """Gives the classifier that fits a tenant's registry, trained once for each state of it."""

    async def classifier_for(self, registry: Registry) -> Classifier:
        """Trains on first use (about a second, in a thread), then answers at once."""
        ...


def owner_name() -> str:
    """Who holds a lease: host, process, and a number of its own, since process ids come round again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_BOOT}"


_BOOT = f"{time.time_ns():x}"


WHATSAPP: Channel = WhatsApp()

INBOUND: Mapping[str, Inbound] = {
    "whatsapp": WHATSAPP,
    # A message says itself to which mailbox it came.
    "email": Email(""),
}
"""What reads the deliveries of each channel, by the channel's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """Everything that a service needs from outside."""

    settings: Settings
    database: Database
    clock: Clock
    source: TimeOrderedIds
    http: httpx.AsyncClient
    queue: Queue
    keyring: Keyring
    classifiers: ClassifierProvider
    skills: SkillInvoker
    blobs: Blobs
    http_skills: HttpSkills = field(default_factory=HttpSkills)
    mailer: Mailer | None = None
    provider_documents: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict, compare=False, repr=False)
    """What identity providers say of themselves, by address, and when it was read (monotonic seconds)."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    owner: str = field(default_factory=owner_name)
    batchers: Batchers = field(init=False, default_factory=Batchers, compare=False, repr=False)
    media_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MEDIA_AT_ONCE))
    export_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXPORTS_AT_ONCE))

    @property
    def clock_override(self) -> datetime | None:
        """The time where it is moved, in the demo's past and in tests; None where the database's clock is to decide."""
        return None if isinstance(self.clock, SystemClock) else self.clock.now()

    def client(self, access: AccountAccess) -> AccountClient:
        """The client that speaks to WhatsApp for one account."""
        return WHATSAPP.client(self.http, self.settings.graph_url, access)
