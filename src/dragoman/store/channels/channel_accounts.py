"""Keeps channel accounts: the WhatsApp numbers and mailboxes of tenants, with their credentials sealed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.fernet import InvalidToken

from dragoman.domain.circuit import Circuit
from dragoman.domain.errors import AlreadyTakenError
from dragoman.store import directory
from dragoman.store.database import Connection
from dragoman.store.sending import circuits
from dragoman.store.sending.pace import NUMBER_RATE_PER_S, PAIR_BURST, Pace
from dragoman.translations import deferred


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatsAppCredentials:
    """What a number needs: ``token`` to send, ``app_secret`` to trust what comes, ``verify_token`` to be set up.

    ``earlier_app_secret`` is trusted as well while Meta's side changes over to the other one.
    """

    token: str = field(repr=False)
    app_secret: str = field(repr=False)
    verify_token: str = field(repr=False)
    earlier_app_secret: str | None = field(default=None, repr=False)

    @property
    def app_secrets(self) -> tuple[str, ...]:
        """The secrets that may have signed a delivery, the current one first."""
        return (self.app_secret, *((self.earlier_app_secret,) if self.earlier_app_secret else ()))

    def to_bytes(self) -> bytes:
        """The plain form; seal it before it is stored."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, plain: bytes) -> WhatsAppCredentials:
        """What :meth:`to_bytes` wrote. Raises UnreadableCredentialsError where it is something else."""
        try:
            read = cls(**json.loads(plain))
        except (ValueError, TypeError):
            raise UnreadableCredentialsError(NOT_CREDENTIALS) from None
        if not all(isinstance(given, str) for given in (read.token, read.verify_token, *read.app_secrets)):
            raise UnreadableCredentialsError(NOT_CREDENTIALS)
        return read


OTHER_KEY = "Its credentials are damaged, or were encrypted under another key than this installation has."
NOT_CREDENTIALS = "Its credentials are damaged: what was stored is not what this program stores."


class UnreadableCredentialsError(Exception):
    """An account's credentials cannot be read; the message is a sentence for an administrator."""


def unseal(sealed: bytes, decrypt: Callable[[bytes], bytes]) -> WhatsAppCredentials:
    """Open the credentials of an account. Raises UnreadableCredentialsError."""
    try:
        plain = decrypt(sealed)
    except InvalidToken:
        raise UnreadableCredentialsError(OTHER_KEY) from None
    return WhatsAppCredentials.from_bytes(plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A channel account as the webhook needs it; where its credentials cannot be read, ``unreadable`` says why."""

    tenant_id: UUID
    channel_account_id: UUID
    address: str
    display: str
    waba_id: str | None
    credentials: WhatsAppCredentials | None
    unreadable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelAccount:
    """A channel account as senders and pages need it; ``secrets`` is sealed.

    While it is stopped (``stopped_at``) nothing is sent, while its ``circuit`` is open only what is on trial.
    ``waba_id`` is the business account that it belongs to.
    """

    channel_account_id: UUID
    channel: str
    address: str
    display: str
    name: str
    secrets: bytes = field(repr=False)
    waba_id: str | None = None
    messages_per_second: int = NUMBER_RATE_PER_S
    pair_burst: int = PAIR_BURST
    stopped_at: datetime | None = None
    stopped_code: int | None = None
    stopped_reason: str = ""
    circuit: Circuit = field(default_factory=Circuit)

    @property
    def business_account(self) -> str:
        """What a hold on the whole business account is named by."""
        return self.waba_id or str(self.channel_account_id)

    @property
    def pace(self) -> Pace:
        """How fast it may send."""
        return Pace(number_rate=self.messages_per_second, pair_burst=self.pair_burst)


_COLUMNS = (
    "channel_account_id, channel, address, display, name, secrets, waba_id, messages_per_second, pair_burst, "
    "stopped_at, stopped_code, stopped_reason"
)


def _account(row: Any) -> ChannelAccount:
    values = {name.strip(): row[name.strip()] for name in _COLUMNS.split(",")}
    return ChannelAccount(**values, circuit=circuits.read(row))


async def receivers(connection: Connection, decrypt: Callable[[bytes], bytes]) -> list[Receiver]:
    """Every WhatsApp account of the installation, also those whose credentials cannot be read.

    Takes a connection without a tenant.
    """
    rows = await connection.fetch("SELECT * FROM directory_receivers('whatsapp')")
    return [_receiver(row, decrypt) for row in rows]


def _receiver(row: Any, decrypt: Callable[[bytes], bytes]) -> Receiver:
    credentials, unreadable = None, ""
    try:
        credentials = unseal(row["secrets"], decrypt)
    except UnreadableCredentialsError as error:
        unreadable = str(error)
    return Receiver(
        tenant_id=row["tenant_id"],
        channel_account_id=row["channel_account_id"],
        address=row["address"],
        display=row["display"],
        waba_id=row["waba_id"],
        credentials=credentials,
        unreadable=unreadable,
    )


async def load(
    connection: Connection, tenant_id: UUID, channel_account_id: UUID, *, lock: bool = False
) -> ChannelAccount:
    """Do :func:`load_all` for one, held until the transaction ends with *lock*.

    Raises KeyError for one that this tenant does not have: ids come from our rows.
    """
    return (await load_all(connection, tenant_id, [channel_account_id], lock=lock))[channel_account_id]


async def load_all(
    connection: Connection, tenant_id: UUID, ids: Collection[UUID], *, lock: bool = False
) -> dict[UUID, ChannelAccount]:
    """The accounts of those ids that this tenant has."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, {circuits.COLUMNS} FROM channel_account "
        f"WHERE tenant_id = $1 AND channel_account_id = ANY($2::uuid[])"
        f"{' FOR NO KEY UPDATE' if lock else ''}",
        tenant_id,
        list(ids),
    )
    return {row["channel_account_id"]: _account(row) for row in rows}


async def list_all(connection: Connection, tenant_id: UUID) -> list[ChannelAccount]:
    """List the tenant's accounts, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}, {circuits.COLUMNS} FROM channel_account WHERE tenant_id = $1 "
        "ORDER BY created_at, channel_account_id",
        tenant_id,
    )
    return [_account(row) for row in rows]


async def add(
    connection: Connection, tenant_id: UUID, account: ChannelAccount, *, waba_id: str | None, now: datetime
) -> None:
    """Add a WhatsApp number or a mailbox; AlreadyTakenError where any tenant of the installation has it."""
    kind = f"{account.channel}_address"
    if not await directory.enter(connection, tenant_id, kind, account.address, account.channel_account_id):
        raise AlreadyTakenError(deferred("%(address)s is a channel account already", address=account.address))
    await connection.execute(
        "INSERT INTO channel_account (tenant_id, channel_account_id, channel, address, display, name, waba_id, "
        "secrets, created_at, messages_per_second, pair_burst) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        tenant_id,
        account.channel_account_id,
        account.channel,
        account.address,
        account.display,
        account.name,
        waba_id,
        account.secrets,
        now,
        account.messages_per_second,
        account.pair_burst,
    )


async def keep_checks(
    connection: Connection,
    tenant_id: UUID,
    channel_account_id: UUID,
    findings: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
) -> None:
    """Keep what the latest check of the account found."""
    await connection.execute(
        "UPDATE channel_account SET checked_at = $3, checks = $4 WHERE tenant_id = $1 AND channel_account_id = $2",
        tenant_id,
        channel_account_id,
        now,
        list(findings),
    )


@dataclass(frozen=True, slots=True)
class Checks:
    """What the latest check of an account found, as it was kept."""

    at: datetime
    findings: Sequence[Mapping[str, Any]]


async def checks(connection: Connection, tenant_id: UUID) -> dict[UUID, Checks]:
    """The latest check of each account that was checked."""
    rows = await connection.fetch(
        "SELECT channel_account_id, checked_at, checks FROM channel_account "
        "WHERE tenant_id = $1 AND checked_at IS NOT NULL",
        tenant_id,
    )
    return {row["channel_account_id"]: Checks(row["checked_at"], row["checks"]) for row in rows}


async def update(connection: Connection, tenant_id: UUID, account: ChannelAccount) -> None:
    """Make the account as *account*, but for its address and whether it is stopped or can be reached."""
    await connection.execute(
        "UPDATE channel_account SET display = $3, name = $4, waba_id = $5, secrets = $6, messages_per_second = $7, "
        "pair_burst = $8 WHERE tenant_id = $1 AND channel_account_id = $2",
        tenant_id,
        account.channel_account_id,
        account.display,
        account.name,
        account.waba_id,
        account.secrets,
        account.messages_per_second,
        account.pair_burst,
    )


async def reseal(connection: Connection, tenant_id: UUID, again: Callable[[bytes], bytes]) -> int:
    """Store what *again* makes of each account's sealed credentials; returns how many."""
    rows = await connection.fetch(
        "SELECT channel_account_id, secrets FROM channel_account WHERE tenant_id = $1 FOR NO KEY UPDATE", tenant_id
    )
    for row in rows:
        await connection.execute(
            "UPDATE channel_account SET secrets = $3 WHERE tenant_id = $1 AND channel_account_id = $2",
            tenant_id,
            row["channel_account_id"],
            again(row["secrets"]),
        )
    return len(rows)
