"""Failed logins, counted by all web processes together, and how long the next attempt has to wait for them.

Three things are counted: an address as one client tries it, a client whatever it tries, and an address whoever tries
it. The last makes nobody wait for long, since a stranger could otherwise lock people out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.client_networks import network_of
from dragoman.sql import bulk_insert
from dragoman.store.database import NO_TENANT, Database

FORGOTTEN = timedelta(hours=1)
"""After so long without another failure a subject begins anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something that is counted: ``free`` failures cost nothing, then the wait doubles from a second to ``longest``."""

    digest: bytes
    free: int
    longest: timedelta

    def wait(self, failures: int, last_at: datetime, now: datetime) -> timedelta:
        """How long from *now* on nothing may be tried."""
        if failures < self.free or now >= last_at + FORGOTTEN:
            return timedelta(0)
        pause = min(timedelta(seconds=1 << min(failures - self.free, 20)), self.longest)
        return max(timedelta(0), last_at + pause - now)


def subjects(email: str, client: str) -> tuple[Subject, ...]:
    """List what a login counts for, the address from this client first.

    Only digests are stored, since what was typed may be anything.
    """
    place = network_of(client)
    return (
        Subject(digest=_digest("pair", email, place), free=5, longest=timedelta(minutes=15)),
        Subject(digest=_digest("client", place), free=50, longest=timedelta(minutes=15)),
        Subject(digest=_digest("email", email), free=20, longest=timedelta(seconds=30)),
    )


def own(user_id: UUID) -> tuple[Subject, ...]:
    """What it counts for that somebody who is signed in gives their password again."""
    return (Subject(digest=_digest("own", str(user_id)), free=5, longest=timedelta(minutes=15)),)


def code(user_id: UUID) -> tuple[Subject, ...]:
    """What a code of a second factor counts for: a million of them are soon tried."""
    return (Subject(digest=_digest("code", str(user_id)), free=5, longest=timedelta(minutes=15)),)


def forgotten(email: str, client: str) -> tuple[Subject, ...]:
    """What asking for a reset counts for, whether the address is known or not: nobody's mailbox is to be flooded."""
    return (
        Subject(digest=_digest("forgotten", email), free=3, longest=timedelta(minutes=30)),
        Subject(digest=_digest("forgotten by", network_of(client)), free=20, longest=timedelta(minutes=15)),
    )


def reset_links(client: str) -> tuple[Subject, ...]:
    """List what a password reset's link counts for: a link that is not known may be a guess."""
    return (Subject(digest=_digest("reset by", network_of(client)), free=20, longest=timedelta(minutes=15)),)


def sign_on(client: str) -> tuple[Subject, ...]:
    """List what leaving for an identity provider counts for, until somebody comes back signed in."""
    return (Subject(digest=_digest("sign-on by", network_of(client)), free=50, longest=timedelta(minutes=15)),)


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\0".join(parts).encode(errors="replace")).digest()


_FIRST = bulk_insert(
    "login_failure", {"subject": "bytea"}, once={"last_at": "timestamptz"}, values={"failures": "0"}, order="r.subject"
)


async def attempt(database: Database, found: Sequence[Subject], *, now: datetime) -> timedelta:
    """How long an attempt has to wait; where it need not, it is counted as one that fails, until it has not.

    So of many at once no more are let through than of many in a row.
    """
    digests = sorted(subject.digest for subject in found)
    async with database.tenant(NO_TENANT) as connection:
        await _FIRST.execute(connection, [(digest,) for digest in digests], NO_TENANT, now)
        rows = await connection.fetch(
            "SELECT subject, failures, last_at FROM login_failure WHERE tenant_id = $1 AND subject = ANY($2::bytea[]) "
            "ORDER BY subject FOR UPDATE",
            NO_TENANT,
            digests,
        )
        known = {row["subject"]: row for row in rows}
        waits = [
            subject.wait(known[subject.digest]["failures"], known[subject.digest]["last_at"], now)
            for subject in found
            if subject.digest in known
        ]
        if wait := max(waits, default=timedelta(0)):
            return wait
        await connection.execute(
            "UPDATE login_failure SET last_at = $3, failures = CASE WHEN last_at <= $4 THEN 1 ELSE failures + 1 END "
            "WHERE tenant_id = $1 AND subject = ANY($2::bytea[])",
            NO_TENANT,
            digests,
            now,
            now - FORGOTTEN,
        )
        await connection.execute(
            "DELETE FROM login_failure WHERE (tenant_id, subject) IN (SELECT tenant_id, subject FROM login_failure "
            "WHERE tenant_id = $1 AND last_at <= $2 ORDER BY last_at LIMIT 100 FOR UPDATE SKIP LOCKED)",
            NO_TENANT,
            now - FORGOTTEN,
        )
    return timedelta(0)


async def succeeded(database: Database, found: Sequence[Subject]) -> None:
    """The attempt that was counted did not fail: forget all of the first subject's, and this one of the others'."""
    async with database.tenant(NO_TENANT) as connection:
        await connection.execute(
            "DELETE FROM login_failure WHERE tenant_id = $1 AND subject = $2", NO_TENANT, found[0].digest
        )
        await connection.execute(
            "UPDATE login_failure f SET failures = greatest(f.failures - 1, 0) FROM (SELECT subject FROM login_failure "
            "WHERE tenant_id = $1 AND subject = ANY($2::bytea[]) ORDER BY subject FOR UPDATE) AS l "
            "WHERE f.tenant_id = $1 AND f.subject = l.subject",
            NO_TENANT,
            [subject.digest for subject in found[1:]],
        )
