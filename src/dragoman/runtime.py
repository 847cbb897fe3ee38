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
from email.message import EmailMessage
from typing import Any, Protocol
from uuid import UUID

import httpx
from cryptography.fernet import Fernet, MultiFernet

from dragoman.channels.email.channel import Email
from dragoman.channels.email.transport import SmtpTransport
from dragoman.channels.interface import AccountAccess, AccountClient, Channel, Inbound, MailTransport
from dragoman.channels.whatsapp.channel import WhatsApp
from dragoman.classify import Classifier, IntentReader
from dragoman.classify.language_model import ModelAccess
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.nouns import Registry
from dragoman.rendering.renderer import TemplateRenderer
from dragoman.settings import Settings
from dragoman.skills.http import HttpSkills
from dragoman.skills.invoker import SkillInvoker
from dragoman.store.batching import Batchers
from dragoman.store.blobs import Blobs
from dragoman.store.database import Connection, Database

MEDIA_AT_ONCE = 6
"""Files that one process fetches at the same time."""

EXPORTS_AT_ONCE = 1
"""Exports that one process prepares in the background at the same time: each takes as much of a core as it gets."""


TRAINED_AT_ONCE = 1
"""Classifiers that one process measures or tries at the same time: each takes a core for seconds."""


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


class KeptMail(Protocol):
    """A mail that the demo's mail server has received."""

    @property
    def name(self) -> str:
        """What it is called there."""
        ...

    @property
    def recipient(self) -> str:
        """Who it was for, by its envelope."""
        ...

    @property
    def message(self) -> EmailMessage:
        """What it says, parsed."""
        ...


class ReceivedMails(Protocol):
    """What the demo's mail server has received, to be read on a page."""

    def list_newest(self, limit: int) -> Sequence[KeptMail]:
        """List the latest ones, the newest first."""
        ...

    def get(self, name: str) -> KeptMail | None:
        """One of them; None where there is none of that name."""
        ...


class ClassifierProvider(Protocol):
    """Gives the classifier that fits a tenant's registry and choice."""

    async def classifier_for(self, registry: Registry) -> Classifier:
        """Train the local one on first use (in a thread, once for each state of a registry), then answer at once."""
        ...

    async def reader_for(self, registry: Registry, access: ModelAccess | None) -> IntentReader:
        """What reads messages: a language model with the local classifier behind it, or without *access* that alone."""
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
    mail: MailTransport = field(default_factory=SmtpTransport)
    mail_templates: TemplateRenderer = field(default_factory=TemplateRenderer)
    received_mails: ReceivedMails | None = None
    provider_documents: dict[str, tuple[float, dict[str, Any]]] = field(default_factory=dict, compare=False, repr=False)
    """What identity providers say of themselves, by address, and when it was read (monotonic seconds)."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    owner: str = field(default_factory=owner_name)
    batchers: Batchers = field(init=False, default_factory=Batchers, compare=False, repr=False)
    media_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MEDIA_AT_ONCE))
    export_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(EXPORTS_AT_ONCE))

    training_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TRAINED_AT_ONCE))

    @property
    def clock_override(self) -> datetime | None:
        """The time where it is moved, in the demo's past and in tests; None where the database's clock is to decide."""
        return None if isinstance(self.clock, SystemClock) else self.clock.now()

    def client(self, access: AccountAccess) -> AccountClient:
        """The client that speaks to WhatsApp for one account."""
        return WHATSAPP.client(self.http, self.settings.graph_url, access)
