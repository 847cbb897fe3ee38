"""Checkpoints say which chains stood where; each is signed and linked to the one before.

A checkpoint names the sessions that changed since the one before it: a leaf for each, with the number of its events and
the seal of the last one, in the order of session ids. Its *header* has the Merkle root over the leaves (see
:mod:`~dragoman.ledger.merkle`) and the digest of the previous header; the header's bytes are signed with Ed25519. All
three are JSON with sorted keys and without spaces, so that anybody can write the same bytes. As a file a checkpoint is
its header, its signature and its leaves, a line each.

Signatures and digests have no randomness in them: the same checkpoint is the same bytes wherever and whenever it is
written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dragoman.ledger import merkle, seal
from dragoman.ledger.connection import Connection
from dragoman.sql import BulkStatement, bulk_insert

FORMAT = "dragoman-checkpoint/1"
FIRST_PREVIOUS = bytes(32)
"""What stands as the previous digest in a tenant's first checkpoint."""

MOST_LEAVES = 20_000
"""In one checkpoint; where more sessions changed, several are made one after the other."""


def _dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A session stood there: so many events, the last one's seal."""

    session_id: UUID
    events: int
    head: bytes

    def to_bytes(self) -> bytes:
        """What is hashed into the tree."""
        return f'{{"events":{self.events},"head":"{self.head.hex()}","session_id":"{self.session_id}"}}'.encode()

    @classmethod
    def from_bytes(cls, line: bytes) -> Leaf:
        """Raises ValueError for anything else."""
        try:
            found = json.loads(line)
            leaf = cls(UUID(found["session_id"]), int(found["events"]), bytes.fromhex(found["head"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a leaf") from error
        if leaf.to_bytes() != line:
            raise ValueError("not a leaf as it is written")
        return leaf

    @property
    def hash(self) -> bytes:
        """Is its hash in the tree."""
        return merkle.leaf_hash(self.to_bytes())


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is signed. ``key`` is the public key, ``previous`` the digest of the header before."""

    tenant_id: UUID
    number: int
    at: str
    previous: bytes
    leaves: int
    root: bytes
    key: bytes

    def to_bytes(self) -> bytes:
        """The bytes that are signed."""
        return _dump(
            {
                "format": FORMAT,
                "tenant_id": str(self.tenant_id),
                "number": self.number,
                "at": self.at,
                "previous": self.previous.hex(),
                "leaves": self.leaves,
                "root": self.root.hex(),
                "key": self.key.hex(),
            }
        )

    @classmethod
    def from_bytes(cls, text: bytes) -> Header:
        """Raises ValueError for anything that is not written exactly so."""
        try:
            found = json.loads(text)
            header = cls(
                tenant_id=UUID(found["tenant_id"]),
                number=int(found["number"]),
                at=str(found["at"]),
                previous=bytes.fromhex(found["previous"]),
                leaves=int(found["leaves"]),
                root=bytes.fromhex(found["root"]),
                key=bytes.fromhex(found["key"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a checkpoint's header") from error
        if header.to_bytes() != text:
            raise ValueError("not a checkpoint's header as it is written")
        return header


@dataclass(frozen=True, slots=True)
class Signed:
    """Holds a header's bytes with their signature."""

    header: bytes
    signature: bytes

    @property
    def digest(self) -> bytes:
        """What the next one says of it."""
        return hashlib.sha256(self.header).digest()

    def signed_by(self, key: bytes) -> bool:
        """Say whether the holder of that public key signed it."""
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(self.signature, self.header)
        except (InvalidSignature, ValueError):
            return False
        return True

    def lines(self) -> Iterator[bytes]:
        """Write the two lines that stand before the leaves."""
        yield self.header + b"\n"
        yield _dump({"signature": self.signature.hex()}) + b"\n"

    @classmethod
    def from_lines(cls, header: bytes, signature: bytes) -> Signed:
        """Raises ValueError."""
        try:
            found = cls(header.removesuffix(b"\n"), bytes.fromhex(json.loads(signature)["signature"]))
        except (KeyError, TypeError) as error:
            raise ValueError("not a checkpoint's signature") from error
        if list(found.lines()) != [header, signature]:
            raise ValueError("not a checkpoint as it is written")
        return found


def parse(file: bytes) -> tuple[Signed, list[bytes]]:
    """A checkpoint's file: what was signed, and the lines of its leaves. Raises ValueError."""
    lines = file.split(b"\n")
    if len(lines) < 3 or lines.pop():
        raise ValueError("not a checkpoint's file, or only the beginning of one")
    return Signed.from_lines(lines[0] + b"\n", lines[1] + b"\n"), lines[2:]


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Give the public key's 32 bytes."""
    return key.public_key().public_bytes_raw()


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeCheckpoint:
    """A checkpoint that was made."""

    number: int
    at: datetime
    leaves: int
    digest: bytes


class OtherKeyError(Exception):
    """The checkpoint before was signed with another key."""


async def latest_at(connection: Connection, tenant_id: UUID) -> datetime | None:
    """When the tenant's latest checkpoint was made."""
    found: datetime | None = await connection.fetchval(
        "SELECT at FROM checkpoint WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1", tenant_id
    )
    return found


async def consider_all(connection: Connection, tenant_id: UUID) -> None:
    """Let the next checkpoint look at every session: after a restore, from which the change feed may be missing."""
    await connection.execute(
        "INSERT INTO checkpoint_due SELECT tenant_id, session_id FROM session WHERE tenant_id = $1 "
        "AND next_position > 1 ON CONFLICT DO NOTHING",
        tenant_id,
    )


_LEAVES = bulk_insert(
    "checkpoint_leaf", {"session_id": "uuid", "events": "int", "head": "bytea"}, once={"number": "int"}
)


async def make(
    connection: Connection, tenant_id: UUID, key: Ed25519PrivateKey, *, now: datetime, other_key: bool = False
) -> MadeCheckpoint | None:
    """Make the next checkpoint; None where no chain has grown since the last one.

    A session is considered when a change of it is in the feed, or was there and left it: rows of the feed appear with
    their transaction, and trimming puts what it removes among the sessions that are due, so that a transaction that
    commits late is considered late and never missed. Raises OtherKeyError where the checkpoint before was signed with
    another key, unless *other_key* says that this is meant.
    """
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtext('dragoman.checkpoint'), hashtext($1::text))", str(tenant_id)
    )
    await connection.execute(
        "INSERT INTO checkpoint_due SELECT DISTINCT tenant_id, session_id FROM session_change WHERE tenant_id = $1 "
        "ON CONFLICT DO NOTHING",
        tenant_id,
    )
    leaves: list[Leaf] = []
    while not leaves:
        due = await _taken(connection, tenant_id)
        if not due:
            return None
        leaves = await _grown(connection, tenant_id, due)
    before = await connection.fetchrow(
        "SELECT number, header, signature FROM checkpoint WHERE tenant_id = $1 ORDER BY number DESC LIMIT 1", tenant_id
    )
    own = public_bytes(key)
    previous = FIRST_PREVIOUS
    if before is not None:
        last = Signed(before["header"], before["signature"])
        if not other_key and not last.signed_by(own):
            raise OtherKeyError(f"checkpoint {before['number']} was signed with another key")
        previous = last.digest
    header = Header(
        tenant_id=tenant_id,
        number=1 if before is None else before["number"] + 1,
        at=seal.timestamp(now),
        previous=previous,
        leaves=len(leaves),
        root=merkle.root(leaf.hash for leaf in leaves),
        key=own,
    )
    signed = Signed(header.to_bytes(), key.sign(header.to_bytes()))
    await connection.execute(
        "INSERT INTO checkpoint (tenant_id, number, at, header, signature) VALUES ($1, $2, $3, $4, $5)",
        *(tenant_id, header.number, now, signed.header, signed.signature),
    )
    rows = [(leaf.session_id, leaf.events, leaf.head) for leaf in leaves]
    await _LEAVES.execute(connection, rows, tenant_id, header.number)
    return MadeCheckpoint(number=header.number, at=now, leaves=len(leaves), digest=signed.digest)


async def _taken(connection: Connection, tenant_id: UUID) -> list[UUID]:
    """Sessions that are due, which are so no more.

    They are looked at after this, by a later snapshot: what is put among them meanwhile waits for this transaction.
    """
    rows = await connection.fetch(
        "DELETE FROM checkpoint_due WHERE tenant_id = $1 AND session_id IN (SELECT session_id FROM checkpoint_due "
        "WHERE tenant_id = $1 ORDER BY session_id LIMIT $2) RETURNING session_id",
        tenant_id,
        MOST_LEAVES,
    )
    return [row["session_id"] for row in rows]


async def _grown(connection: Connection, tenant_id: UUID, session_ids: Sequence[UUID]) -> list[Leaf]:
    """Leaves for those of the sessions that have more events than their latest leaf."""
    rows = await connection.fetch(
        "SELECT s.session_id, s.next_position - 1 AS events, s.head FROM session s "
        "WHERE s.tenant_id = $1 AND s.session_id = ANY($2::uuid[]) AND s.head IS NOT NULL "
        "AND s.next_position - 1 > coalesce((SELECT l.events FROM checkpoint_leaf l WHERE l.tenant_id = $1 "
        "AND l.session_id = s.session_id ORDER BY l.number DESC LIMIT 1), 0) ORDER BY s.session_id",
        tenant_id,
        session_ids,
    )
    return [Leaf(row["session_id"], row["events"], row["head"]) for row in rows]


async def unpublished(connection: Connection, tenant_id: UUID) -> list[int]:
    """The numbers of checkpoints that are not known to be outside yet."""
    rows = await connection.fetch(
        "SELECT number FROM checkpoint WHERE tenant_id = $1 AND published_at IS NULL ORDER BY number", tenant_id
    )
    return [row["number"] for row in rows]


async def latest_number(connection: Connection, tenant_id: UUID) -> int:
    """Read the number of the tenant's latest checkpoint; 0 before the first."""
    found: int = await connection.fetchval(
        "SELECT coalesce(max(number), 0) FROM checkpoint WHERE tenant_id = $1", tenant_id
    )
    return found


async def published_numbers(connection: Connection, tenant_id: UUID) -> list[int]:
    """The numbers of checkpoints that were written outside."""
    rows = await connection.fetch(
        "SELECT number FROM checkpoint WHERE tenant_id = $1 AND published_at IS NOT NULL ORDER BY number", tenant_id
    )
    return [row["number"] for row in rows]


async def numbers_of(connection: Connection, tenant_id: UUID, session_id: UUID) -> list[int]:
    """Read the numbers of checkpoints that cover the session."""
    rows = await connection.fetch(
        "SELECT number FROM checkpoint_leaf WHERE tenant_id = $1 AND session_id = $2 ORDER BY number",
        tenant_id,
        session_id,
    )
    return [row["number"] for row in rows]


async def published(connection: Connection, tenant_id: UUID, number: int, *, now: datetime) -> None:
    """Note that it is outside."""
    await connection.execute(
        "UPDATE checkpoint SET published_at = $3 WHERE tenant_id = $1 AND number = $2", tenant_id, number, now
    )


async def headers(connection: Connection, tenant_id: UUID, numbers: Collection[int] | None = None) -> dict[int, Signed]:
    """Read the headers with their signatures by number; all of them, or those of *numbers*."""
    rows = await connection.fetch(
        "SELECT number, header, signature FROM checkpoint WHERE tenant_id = $1 "
        "AND ($2::int[] IS NULL OR number = ANY($2::int[])) ORDER BY number",
        tenant_id,
        None if numbers is None else list(numbers),
    )
    return {row["number"]: Signed(row["header"], row["signature"]) for row in rows}


async def leaves(connection: Connection, tenant_id: UUID, number: int) -> list[Leaf]:
    """Read the leaves of a checkpoint, in their order."""
    rows = await connection.fetch(
        "SELECT session_id, events, head FROM checkpoint_leaf WHERE tenant_id = $1 AND number = $2 ORDER BY session_id",
        tenant_id,
        number,
    )
    return [Leaf(row["session_id"], row["events"], row["head"]) for row in rows]


async def every_leaf(connection: Connection, tenant_id: UUID) -> AsyncIterator[tuple[int, Leaf]]:
    """All leaves of all checkpoints, by number and then in their order; needs a transaction for its cursor."""
    async for row in connection.cursor(
        "SELECT number, session_id, events, head FROM checkpoint_leaf WHERE tenant_id = $1 ORDER BY number, session_id",
        tenant_id,
        prefetch=2000,
    ):
        yield row["number"], Leaf(row["session_id"], row["events"], row["head"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """That a leaf is in a checkpoint: its place in the tree, and the other sides on the way to the root."""

    number: int
    leaf: Leaf
    index: int
    path: Sequence[bytes]

    def to_json(self) -> dict[str, Any]:
        """As it stands in an evidence bundle."""
        return {
            "number": self.number,
            "events": self.leaf.events,
            "index": self.index,
            "path": [other.hex() for other in self.path],
        }


_COVERED = BulkStatement(
    "SELECT l.* FROM {rows} CROSS JOIN LATERAL ("
    " SELECT l.number, l.session_id, l.events, l.head FROM checkpoint_leaf l WHERE l.tenant_id = {tenant_id}"
    " AND l.session_id = r.session_id AND l.events <= r.events ORDER BY l.number DESC LIMIT 1) AS l",
    {"session_id": "uuid", "events": "int"},
)


async def proofs(
    connection: Connection, tenant_id: UUID, sessions: Iterable[tuple[UUID, int]]
) -> tuple[dict[UUID, Proof], dict[int, Signed]]:
    """For each session, with how many events it is shown, the latest checkpoint that covers no more; and these."""
    rows = await _COVERED.fetch(connection, list(sessions), tenant_id)
    found: dict[UUID, Proof] = {}
    hashes: dict[int, tuple[dict[UUID, int], list[bytes]]] = {}
    for row in rows:
        number = row["number"]
        if number not in hashes:
            own = await leaves(connection, tenant_id, number)
            hashes[number] = {leaf.session_id: i for i, leaf in enumerate(own)}, [leaf.hash for leaf in own]
        places, tree = hashes[number]
        index = places[row["session_id"]]
        leaf = Leaf(row["session_id"], row["events"], row["head"])
        found[leaf.session_id] = Proof(number=number, leaf=leaf, index=index, path=merkle.path(tree, index))
    return found, await headers(connection, tenant_id, hashes.keys())
