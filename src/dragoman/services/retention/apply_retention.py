"""Remove what is older than the retention window, and say beforehand exactly what that would be.

It works on a connection of the database's owner, which is opened for it alone: the application's role cannot do any of
this. Transactions: each step is its own, in an order in which a run that is killed anywhere is finished by the next:
the removal is put on record, partitions are detached, anchors and events of shortened sessions are written, partitions
are dropped, rows of tenants with a shorter window are deleted some thousand at a time, files of messages are erased (by
the application's role, see ``services.media.erase_media``). A media store that is away keeps its files until the
next run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog

from dragoman.domain.errors import DragomanError
from dragoman.domain.retention import retention_period
from dragoman.ledger import partitions, retention
from dragoman.ledger.partitions import Partition
from dragoman.ledger.retention import Cut
from dragoman.runtime import Runtime
from dragoman.services.media import erase_media
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.store.database import Connection

log = structlog.get_logger()

MEDIA = "media_file"
"""What goes of it are the files; the rows stay and say why there is none."""


class RetentionBusyError(DragomanError):
    """Another run is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What goes of one tenant: its rows by table, and how many sessions lose something for the first time."""

    tenant_id: UUID
    slug: str
    cut: Cut
    sessions: int
    rows: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPlan:
    """What a run at that moment removes: whole partitions, and each tenant's share of them and beyond them.

    ``trouble`` says why files of messages were left for the next run; empty where none were.
    """

    at: datetime
    partitions: tuple[Partition, ...]
    shares: tuple[Share, ...]
    trouble: str = ""

    @property
    def rows(self) -> Counter[str]:
        """Count rows by table, of all tenants."""
        return sum((share.rows for share in self.shares), Counter())


async def plan(connection: Connection, *, now: datetime, days: int) -> RetentionPlan:
    """What is to go at *now* under the installation's window of *days*. Changes nothing."""
    known = await partitions.list_all(connection)
    limit = retention_period(days, None).start(now)
    past = tuple(p for p in known if p.parent in retention.RECORD and p.end <= limit)
    kept = await retention.keeping(connection, {p.name: p.parent for p in past if p.attached and not p.pending})
    due = tuple(p for p in past if p.name not in kept)
    counts = await retention.count(connection, [p.name for p in due])
    week = max((p.end for p in past), default=None)
    shares = []
    for row in await connection.fetch(
        "SELECT tenant_id, slug, (settings->>'retention_days')::int AS days FROM tenant ORDER BY slug"
    ):
        own = retention_period(days, row["days"])
        # Nothing more may be due; but the media store may have been away when files were.
        latest = await retention.latest_cut(connection, row["tenant_id"])
        ends = [own.start(now)] if own.rule == "tenant" else [end for end in (week, latest) if end is not None]
        if not ends:
            continue
        before = max(ends)
        cut = Cut(before=before, at=now, rule=own.rule, days=own.days)
        share = Share(
            tenant_id=row["tenant_id"],
            slug=row["slug"],
            cut=cut,
            sessions=await retention.sessions_begun(connection, row["tenant_id"], before=before),
        )
        for partition in due:
            share.rows[partition.parent] += counts[partition.name].get(share.tenant_id, 0)
        within = _within(known, due, before)
        found = await retention.count(connection, [p.name for p in within], only=(share.tenant_id, before))
        for partition in within:
            share.rows[partition.parent] += found[partition.name].get(share.tenant_id, 0)
        for table in retention.SWEPT:
            share.rows[table] += await retention.count_swept(connection, table, share.tenant_id, before)
        for table in retention.EMPTIED:
            share.rows[table] += await retention.count_emptied(connection, table, share.tenant_id, before)
        share.rows[MEDIA] += await retention.count_media(connection, share.tenant_id, before)
        if share.sessions or share.rows.total():
            shares.append(share)
    return RetentionPlan(at=now, partitions=due, shares=tuple(shares))


def _within(known: Sequence[Partition], due: Sequence[Partition], before: datetime) -> list[Partition]:
    """The partitions that stay and may have rows from before that moment: for a tenant's shorter window, or since
    something in them is held.
    """
    gone = {partition.name for partition in due}
    return [
        p for p in known
        if p.attached and p.parent in retention.RECORD and p.name not in gone and p.start < before
    ]  # fmt: skip


async def run(
    runtime: Runtime, connection: Connection, *, by_whom: str, progress: Callable[[str], None] = lambda _: None
) -> RetentionPlan:
    """Do what :func:`plan` says, and say what was done. Raises RetentionBusyError while another run does it."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('dragoman.retention'))"):
        raise RetentionBusyError("another retention run is under way")
    try:
        await retention.hold_the_holds(connection)
        now = runtime.clock.now()
        progress("Looking for what is to be removed")
        planned = await plan(connection, now=now, days=runtime.settings.retention_days)
        run_id = runtime.source.new_id()
        for share in planned.shares:
            await retention.begin(
                connection, share.tenant_id, run_id, share.cut, by_whom=by_whom, sessions=share.sessions
            )
        await _drop(connection, planned, progress)
        done = [await _delete(connection, planned, share, progress) for share in planned.shares]
        trouble = ""
        for share in done:
            reason, left = await _erase_files(runtime, connection, share, progress)
            at = None if left else runtime.clock.now()
            await retention.finish(connection, share.tenant_id, share.cut, share.rows, at=at)
            trouble = trouble or reason
        return RetentionPlan(at=now, partitions=planned.partitions, shares=tuple(done), trouble=trouble)
    finally:
        await retention.release_the_holds(connection)
        await connection.execute("SELECT pg_advisory_unlock(hashtext('dragoman.retention'))")


async def _drop(connection: Connection, planned: RetentionPlan, progress: Callable[[str], None]) -> None:
    progress("Taking partitions out")
    for partition in planned.partitions:
        if partition.attached:
            await partitions.detach(connection, partition)
    cuts = {share.tenant_id: share.cut for share in planned.shares}
    for session in await _anchor(connection, planned.partitions):
        if session.tenant_id in cuts:
            await retention.record_truncation(connection, session, cuts[session.tenant_id], at=planned.at)
    for partition in planned.partitions:
        await partitions.drop(connection, partition)


async def _anchor(
    connection: Connection, going: Sequence[Partition], *, only: tuple[UUID, datetime] | None = None
) -> list[retention.Shortened]:
    """Anchor the chains that go on after *going*, of which with *only* a tenant's rows before that moment go."""
    if not going:
        return []
    tenant_id, before = only or (None, max(p.end for p in going))
    return await retention.anchor(
        connection,
        [p.name for p in going if p.parent == "audit_event"],
        [p.name for p in going if p.parent == "message"],
        since=min(p.start for p in going),
        before=before,
        only=tenant_id,
    )


async def _delete(
    connection: Connection, planned: RetentionPlan, share: Share, progress: Callable[[str], None]
) -> Share:
    """Remove what of the share lies outside the dropped partitions; gives the share with what really went."""
    rows = Counter(share.rows)
    progress(f"Removing what {share.slug} keeps no longer")
    staying = _within(await partitions.list_all(connection), planned.partitions, share.cut.before)
    for session in await _anchor(connection, staying, only=(share.tenant_id, share.cut.before)):
        await retention.record_truncation(connection, session, share.cut, at=planned.at)
    for partition in staying:
        await retention.delete(connection, partition.name, share.tenant_id, share.cut.before)
    for table, condition in retention.SWEPT.items():
        progress(f"Sweeping {table}")
        rows[table] = await retention.delete(connection, table, share.tenant_id, share.cut.before, condition)
    for table in retention.EMPTIED:
        progress(f"Emptying {table}")
        emptied = await retention.empty(connection, table, share.tenant_id, share.cut.before)
        rows[table] = emptied + (rows[table] if table in retention.SWEPT else 0)
    return Share(tenant_id=share.tenant_id, slug=share.slug, cut=share.cut, sessions=share.sessions, rows=rows)


async def _erase_files(
    runtime: Runtime, connection: Connection, share: Share, progress: Callable[[str], None]
) -> tuple[str, int]:
    """Erase the files of the messages that went; why that did not come to its end, and how many are left.

    Contents that could not be deleted of files that are erased already are strays, which the hourly sweep deletes.
    """
    progress(f"Erasing files of {share.slug}")
    try:
        erased = await erase_media.erase_before(runtime, share.tenant_id, share.cut.before)
    except BlobsUnavailableError as error:
        log.warning("retention_left_files", tenant=share.slug, error=error)
        left = await retention.count_media(connection, share.tenant_id, share.cut.before)
        share.rows[MEDIA] -= left
        return f"Files of messages could not be erased and are left for the sweep and the next run: {error}", left
    share.rows[MEDIA] = erased.files
    return "", 0
