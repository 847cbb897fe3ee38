"""Verify the record of a tenant, or of one session, against checkpoints in the database and outside it.

Transactions: one that reads all of a single moment; then one that keeps what was found.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from dragoman.ledger import checkpoint, integrity, merkle, verify
from dragoman.ledger.checkpoint import Header, Leaf, Signed
from dragoman.ledger.verify import Breach, Trusted
from dragoman.runtime import Runtime
from dragoman.services.audit import checkpoints
from dragoman.services.audit.checkpoint_key import public_key
from dragoman.store import tenants
from dragoman.store.blobs import Blobs, BlobsUnavailableError
from dragoman.store.database import UNAVAILABLE, Connection

log = structlog.get_logger()

MOST_NAMED = 20
"""Breaches of one tenant that a scheduled run names in the log."""

# Every order that is asked for is that of an index: the first rows come at once, whatever the planner would sort.
_OF_ONE_MOMENT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL enable_sort = off"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditVerdict:
    """What was looked at, and what was found.

    ``messages`` are those whose content was compared with a digest in an event. ``truncated`` sessions have lost events
    to retention, ``trouble`` says why checkpoints outside the database could not be looked at; empty where they were.
    """

    sessions: int
    events: int
    messages: int = 0
    truncated: int = 0
    checkpoints: int = 0
    breaches: tuple[Breach, ...]
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A checkpoint as it is outside: what was signed, unless it cannot be read; what is wrong with the file itself."""

    signed: Signed | None
    kind: str = ""


async def verify_audit(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID | None = None,
    progress: Callable[[int], None] = lambda _: None,
    *,
    trusted: Trusted = None,
    by_whom: str = "command line",
) -> AuditVerdict:
    """Check every session of the tenant, or only *session_id*; *progress* hears how many are done.

    *trusted* are the public keys that checkpoints may be signed with; where none is given, this installation's own.
    """
    if trusted is None:
        own = public_key(runtime.settings)
        trusted = None if own is None else {own}
    trouble = ""
    store = checkpoints.outside(runtime)
    async with runtime.database.tenant(tenant_id) as connection:
        latest = await checkpoint.latest_number(connection, tenant_id)
    try:
        # Before the database: what is outside by now is there, too.
        files = await _files(store, tenant_id, latest, trusted)
    except BlobsUnavailableError as error:
        files, trouble = {}, f"the checkpoints outside the database could not be read: {error}"
    at = runtime.clock.now()
    wrong: dict[int, str] = {}
    leaves: list[tuple[int, Leaf]] = []
    async with runtime.database.tenant(tenant_id) as connection:
        await connection.execute(_OF_ONE_MOMENT)
        headers, bad = await _inside(connection, tenant_id, trusted)
        if not trouble:
            try:
                wrong = await _outside(connection, store, tenant_id, headers, files, trusted)
                lost = [n for n, file in files.items() if not file.kind and (n in bad or n not in headers)]
                leaves = await _leaves(store, tenant_id, lost)
            except BlobsUnavailableError as error:
                trouble = f"the checkpoints outside the database could not be read: {error}"
        found = await verify.verify_chains(
            connection,
            tenant_id,
            only=session_id,
            without=list(bad),
            marks=verify.marks_of(leaves),
            progress=progress,
        )
    if session_id is not None and not found.sessions and not found.breaches:
        found.breaches.append(Breach(session_id=session_id, kind="the session is missing"))
    told = bad | {n: f"{bad[n]}; {kind}" if n in bad else kind for n, kind in wrong.items()}
    breaches = (*found.breaches, *(Breach(checkpoint=n, kind=told[n]) for n in sorted(told)))
    await _keep(runtime, tenant_id, session_id, found, breaches, at=at, by_whom=by_whom, latest=max(headers, default=0))
    return AuditVerdict(
        sessions=found.sessions,
        events=found.events,
        messages=found.messages,
        truncated=found.truncated,
        checkpoints=len(headers),
        breaches=breaches,
        trouble=trouble,
    )


async def _keep(
    runtime: Runtime,
    tenant_id: UUID,
    session_id: UUID | None,
    found: verify.Found,
    breaches: Sequence[Breach],
    *,
    at: datetime,
    by_whom: str,
    latest: int,
) -> None:
    """Keep what was found; nothing is kept of a session that is not there."""
    async with runtime.database.tenant(tenant_id) as connection:
        if session_id is None:
            await integrity.keep_run(
                connection,
                tenant_id,
                found,
                breaches,
                verification_id=runtime.source.new_id(),
                at=at,
                by_whom=by_whom,
                checkpoint=latest,
            )
        elif found.sessions:
            breach = next(iter(found.breaches), None)
            await integrity.keep_check(connection, tenant_id, session_id, breach, events=found.last_position, at=at)


async def verify_everywhere(runtime: Runtime) -> None:
    """Verify every tenant and say in the log what was found; one that cannot be read does not keep the others waiting.

    What is wrong is named one by one, up to :data:`MOST_NAMED`, for the alert that somebody has on these lines.
    """
    async with runtime.database.directory() as connection:
        ids = await tenants.list_ids(connection)
    for tenant_id in ids:
        try:
            verdict = await verify_audit(runtime, tenant_id, by_whom="schedule")
        except UNAVAILABLE as error:
            log.warning("audit_not_checked", tenant=str(tenant_id), error=error)
            continue
        if verdict.trouble:
            log.warning("checkpoints_not_checked", tenant=str(tenant_id), advice="ask dragoman audit verify")
        for breach in verdict.breaches[:MOST_NAMED]:
            log.error("audit_breach", tenant=str(tenant_id), where=breach.where, kind=breach.kind)
        log.info(
            "audit_checked", tenant=str(tenant_id), sessions=verdict.sessions, events=verdict.events,
            messages=verdict.messages, breaches=len(verdict.breaches),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCheck:
    """How many events of a session were checked and messages compared, and the first breach."""

    events: int
    messages: int
    breach: Breach | None


async def check_session(runtime: Runtime, tenant_id: UUID, session_id: UUID) -> SessionCheck:
    """Check one session for a page, so that nothing is kept of it.

    Of the checkpoints only those in the database that cover the session are looked at.
    """
    own = public_key(runtime.settings)
    async with runtime.database.tenant(tenant_id) as connection:
        await connection.execute(_OF_ONE_MOMENT)
        bad: dict[int, str] = {}
        numbers = await checkpoint.numbers_of(connection, tenant_id, session_id)
        headers = await checkpoint.headers(connection, tenant_id, numbers)
        for number in numbers:
            kind = "it is missing"
            if number in headers:
                kind = verify.header_breach(headers[number], tenant_id, number, None if own is None else {own})
            if not kind:
                header = Header.from_bytes(headers[number].header)
                tree = [leaf.hash for leaf in await checkpoint.leaves(connection, tenant_id, number)]
                fits = (len(tree), merkle.root(tree)) == (header.leaves, header.root)
                kind = "" if fits else verify.OTHER_LEAVES
            if kind:
                bad[number] = kind
        found = await verify.verify_chains(connection, tenant_id, only=session_id, without=list(bad))
    told = [Breach(session_id=session_id, kind=f"checkpoint {number}: {kind}") for number, kind in bad.items()]
    return SessionCheck(events=found.events, messages=found.messages, breach=next(iter([*found.breaches, *told]), None))


async def _inside(
    connection: Connection, tenant_id: UUID, trusted: Trusted
) -> tuple[dict[int, Signed], dict[int, str]]:
    """The checkpoints in the database, and what is wrong with them."""
    headers = await checkpoint.headers(connection, tenant_id)
    bad: dict[int, str] = {}
    for breach in verify.header_breaches(headers, tenant_id, trusted):
        bad.setdefault(breach.checkpoint or 0, breach.kind)
    async for breach in verify.bad_leaves(connection, tenant_id, headers):
        bad.setdefault(breach.checkpoint or 0, breach.kind)
    return headers, bad


async def _files(store: Blobs, tenant_id: UUID, latest: int, trusted: Trusted) -> dict[int, _File]:
    """The checkpoints outside: up to *latest*, and those that follow without a gap."""
    files: dict[int, _File] = {}
    for number in itertools.count(1):
        data = await checkpoints.read(store, tenant_id, number)
        if data is not None:
            files[number] = _file(data, tenant_id, number, trusted)
        elif number > latest:
            break
    return files


def _file(data: bytes, tenant_id: UUID, number: int, trusted: Trusted) -> _File:
    try:
        signed, lines = checkpoint.parse(data)
    except ValueError as error:
        return _File(None, f"it cannot be read: {error}")
    kind = verify.header_breach(signed, tenant_id, number, trusted)
    if not kind:
        header = Header.from_bytes(signed.header)
        root = merkle.root(merkle.leaf_hash(line) for line in lines)
        if (len(lines), root) != (header.leaves, header.root):
            kind = verify.OTHER_LEAVES
    return _File(signed, kind)


async def _outside(
    connection: Connection,
    store: Blobs,
    tenant_id: UUID,
    headers: Mapping[int, Signed],
    files: Mapping[int, _File],
    trusted: Trusted,
) -> dict[int, str]:
    """What is wrong with the checkpoints outside, compared with those in the database."""
    wrong: dict[int, str] = {}
    for number in await checkpoint.published_numbers(connection, tenant_id):
        if number not in files:
            # Or it came outside after that was looked at.
            data = await checkpoints.read(store, tenant_id, number)
            kind = "it is missing" if data is None else _file(data, tenant_id, number, trusted).kind
            if kind:
                wrong[number] = f"outside the database {kind}"
    for number, file in files.items():
        if file.kind:
            wrong[number] = f"outside the database {file.kind}"
        elif number not in headers:
            wrong[number] = "it is outside the database, and not in it"
        elif file.signed is not None and headers[number].header != file.signed.header:
            wrong[number] = "another one is outside the database"
    return wrong


async def _leaves(store: Blobs, tenant_id: UUID, numbers: Sequence[int]) -> list[tuple[int, Leaf]]:
    """The leaves of these checkpoints, as they are outside."""
    found: list[tuple[int, Leaf]] = []
    for number in numbers:
        data = await checkpoints.read(store, tenant_id, number)
        if data is not None:
            found += [(number, Leaf.from_bytes(line)) for line in checkpoint.parse(data)[1]]
    return found
