"""Erase a contact: everything that says who they are and what was said, so that the record can still be checked.

It works on a connection of the database's owner, which is opened for it alone: the application's role cannot do any of
this. Transactions: one for all that is in the database, under the leases of everybody who could be writing to the
contact, which is rolled back where it is only a rehearsal; then, if messages came in while it ran, another one like it;
then files are deleted one by one, which, after a crash, the hourly sweep does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from dragoman.dispatch.merge_sessions import let_go
from dragoman.domain.errors import DragomanError, NotFoundError
from dragoman.domain.nouns import Actor, ActorKind
from dragoman.domain.states import TERMINAL
from dragoman.ledger import append, sessions
from dragoman.ledger import erasure as ledger
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.services.exports import background_exports
from dragoman.services.media import erase_media
from dragoman.store import leases, legal_holds, media
from dragoman.store.accounts.actions import Administrator
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.contacts import erasure as store
from dragoman.store.contacts.erasure import ErasedPerson
from dragoman.store.database import Connection
from dragoman.store.receiving import mailbox

log = structlog.get_logger()

LONGEST_REASON = 500
AT_ONCE = 500
PAUSE_SECONDS = 0.1
PATIENCE_SECONDS = 10.0
"""How long others' transactions that began before the erasure are waited for, and a worker that serves the contact."""


class HeldError(DragomanError):
    """Sessions of the contact are on legal hold."""


class ContactBusyError(DragomanError):
    """The contact is being served, or retention is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What an erasure did, or would do: rows that lose something, by table.

    ``trouble`` says what was left for a later run or the hourly sweep; empty where nothing was.
    """

    contact_id: UUID
    contacts: int
    sessions: int
    rows: Counter[str] = field(default_factory=Counter)
    trouble: str = ""


class _RehearsedError(Exception):
    """Rolls back what was only tried."""


def fault(reason: str) -> str | None:
    """Why *reason* cannot be taken; None for a good one."""
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        return f"A reason is one line of at most {LONGEST_REASON} characters."
    return None


async def find(connection: Connection, tenant_id: UUID, said: str) -> UUID:
    """The contact that *said* leads to: a phone number, an address, an id. Raises NotFoundError; naming several too."""
    found = await store.find(connection, tenant_id, said)
    if not found:
        raise NotFoundError(f"there is no contact {said}")
    if len(found) > 1:
        raise NotFoundError(f"{said} leads to several contacts; name one: {', '.join(map(str, found))}")
    return found[0]


async def erase_contact(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    contact_id: UUID,
    *,
    reason: str,
    by: Administrator,
    rehearse: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Erasure:
    """Erase the contact, and those who turned out to be it, or say what that would be.

    Raises NotFoundError, HeldError, ContactBusyError, and ValueError for a reason that has a :func:`fault`.
    """
    if wrong := fault(reason):
        raise ValueError(wrong)
    one = _Run(runtime, connection, tenant_id, contact_id, reason.strip(), by, progress)
    try:
        async with connection.transaction():
            done = await one.all()
            if rehearse:
                raise _RehearsedError
            transaction = await connection.fetchval("SELECT pg_current_xact_id()::text::bigint")
    except _RehearsedError:
        return done
    late = ""
    if await _others_ended(connection, transaction):
        async with connection.transaction():
            again = await one.all()
        done = replace(done, rows=done.rows + again.rows, sessions=max(done.sessions, again.sessions))
    else:
        late = f"Something else has been writing for {PATIENCE_SECONDS:.0f} s and may bring more of them: run it again"
    progress("Deleting files")
    return replace(done, trouble=late or await _delete_files(runtime, tenant_id, one.contents))


async def _others_ended(connection: Connection, transaction: int) -> bool:
    """Wait until all that had begun to write before *transaction* ended has ended: it may not have seen the erasure."""
    for _ in range(int(PATIENCE_SECONDS / PAUSE_SECONDS)):
        if await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint > $1", transaction):
            return True
        await asyncio.sleep(PAUSE_SECONDS)
    return False


async def _delete_files(runtime: Runtime, tenant_id: UUID, contents: Sequence[bytes | None]) -> str:
    """Why files were left for the sweep; empty where none were."""
    try:
        await erase_media.erase_contents(runtime, tenant_id, contents)
        await background_exports.expire(runtime, tenant_id)
    except BlobsUnavailableError as error:
        log.warning("erasure_left_files", tenant_id=str(tenant_id), error=error)
        return f"Files could not be deleted and are left for the hourly sweep: {error}"
    return ""


class _Run:
    """One erasure, as often as it takes; remembers what led to the contact when that is gone."""

    def __init__(
        self,
        runtime: Runtime,
        connection: Connection,
        tenant_id: UUID,
        contact_id: UUID,
        reason: str,
        by: Administrator,
        progress: Callable[[str], None],
    ) -> None:
        self.runtime, self.connection, self.tenant_id, self.contact_id = runtime, connection, tenant_id, contact_id
        self.reason, self.by, self.progress = reason, by, progress
        self.contents: list[bytes | None] = []
        self._known: ErasedPerson | None = None

    async def all(self) -> Erasure:
        """All that is in the database, in the caller's transaction."""
        connection, tenant_id = self.connection, self.tenant_id
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('dragoman.retention'))"):
            raise ContactBusyError("retention is under way; try again when it has ended")
        who = await store.person(connection, tenant_id, self.contact_id)
        if not who.contacts:
            raise NotFoundError(f"there is no contact {self.contact_id}")
        if self._known is not None:
            who = replace(who, names=who.names | self._known.names, values=who.values | self._known.values)
        self._known = who
        held = [await self._hold(name) for one in who.contacts for name in (f"inbound:{one}", f"outbound:{one}")]
        await self._end_sessions(who)
        ids = await ledger.sessions_of(connection, tenant_id, who.contacts)
        await self._refuse_held(ids)
        who = await store.with_messages(connection, tenant_id, who, ids)
        gone = await self._record(ids)
        now = self.runtime.clock.now()
        files = await media.erase_messages(connection, tenant_id, who.messages, reason=store.REASON, now=now)
        self.contents += files
        gone["media_file"] += len(files)
        gone += await store.erase(connection, tenant_id, who, now=now)
        if gone.total():
            await put_on_record(
                self.runtime, connection, tenant_id, "contact.erased", self.contact_id, object_kind="contact",
                by=self.by, after={"reason": self.reason, "sessions": len(ids), "rows": dict(sorted(gone.items()))},
            )  # fmt: skip
        for lease in held:
            await leases.release(connection, lease)
        return Erasure(contact_id=self.contact_id, contacts=len(who.contacts), sessions=len(ids), rows=gone)

    async def _hold(self, name: str) -> leases.Lease:
        seconds = self.runtime.settings.lease_seconds
        for _ in range(int(PATIENCE_SECONDS / PAUSE_SECONDS)):
            lease = await leases.acquire(
                self.connection, self.tenant_id, name, owner=self.runtime.owner, seconds=seconds
            )
            if lease is not None:
                return lease
            await asyncio.sleep(PAUSE_SECONDS)
        raise ContactBusyError("the contact is being served; try again in a moment")

    async def _end_sessions(self, who: ErasedPerson) -> None:
        connection, tenant_id, runtime = self.connection, self.tenant_id, self.runtime
        for contact_id in who.contacts:
            if await mailbox.is_running(connection, tenant_id, contact_id):
                raise ContactBusyError("a worker died while it served the contact; try again in a moment")
        for places in (await sessions.thread_states(connection, tenant_id, who.contacts)).values():
            for place in places:
                if place.session is None or place.context is None or place.session.state in TERMINAL:
                    continue
                turn = let_go(place.session, self._actor, runtime.clock.now(), runtime.source)
                await append.write_turn(connection, tenant_id, turn, place.context, dispatch_id=None, trace_id=None)

    async def _refuse_held(self, ids: Sequence[UUID]) -> None:
        held = await legal_holds.of(self.connection, self.tenant_id, ids)
        if held:
            names = ", ".join(str(hold.session_id) for hold in held[:5]) + (" …" if len(held) > 5 else "")
            raise HeldError(f"on legal hold, and kept until that is lifted: {names}")

    async def _record(self, ids: Sequence[UUID]) -> Counter[str]:
        gone: Counter[str] = Counter()
        for number, session_id in enumerate(ids):
            if number % AT_ONCE == 0:
                self.progress(f"Conversation {number + 1} of {len(ids)}")
            gone += await ledger.erase(
                self.connection, self.tenant_id, session_id, reason=self.reason, by=self._actor,
                at=self.runtime.clock.now(),
            )  # fmt: skip
        return gone

    @property
    def _actor(self) -> Actor:
        return Actor(ActorKind.ADMINISTRATOR, self.by.name)
