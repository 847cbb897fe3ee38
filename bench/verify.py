"""Verification and what the chain costs: events verified a second, and dispatches with and without sealing.

Verification is the product's own, over every tenant of a filled database, with checkpoints in it and outside. Beside
it: SHA-256 over the same bytes, which are at hand, and nothing else; no verification in Python can be faster than that.
Making the checkpoint that covers everything is measured once, beside an hour, after which the next one is due.

The dispatch is that of the dispatch benchmark with one worker process; *without* is the same worker whose events get a
constant instead of a seal.
"""

from __future__ import annotations

import hashlib
import sys
import time
from uuid import UUID

import httpx

from bench import dispatch
from bench.harness import Result, compare
from bench.installation import open_installation, open_runtime
from bench.load.kept import Loaded, loaded
from bench.shop import SHOP
from dragoman.cli import garbage
from dragoman.ledger import seal
from dragoman.runtime import Runtime
from dragoman.services.audit import checkpoints
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.store import tenants

EVENTS_IN_A_SESSION = 8
"""On average, in the filled database."""


async def _tenants(runtime: Runtime) -> list[UUID]:
    async with runtime.database.directory() as connection:
        return await tenants.list_ids(connection)


async def _bytes(runtime: Runtime, tenant_id: UUID) -> list[bytes]:
    """What the seals of the tenant's events cover."""
    async with runtime.database.tenant(tenant_id) as connection:
        return [
            seal.canonical(**dict(row.items()))
            async for row in connection.cursor(
                "SELECT session_id, position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, "
                "payload FROM audit_event WHERE tenant_id = $1 ORDER BY session_id, position",
                tenant_id,
                prefetch=2000,
            )
        ]


def _bare(covered: list[bytes]) -> float:
    """Events a second when they are only hashed, each after the one before."""
    begun = time.perf_counter()
    head = seal.GENESIS
    for event in covered:
        head = hashlib.sha256(head + event).digest()
    return len(covered) / (time.perf_counter() - begun)


async def _verification(made: Loaded, runs: int) -> list[Result]:
    async with open_runtime(made.home, made.urls) as runtime:
        ids = await _tenants(runtime)
        begun = time.perf_counter()
        covered = [one for tenant_id in ids for one in await checkpoints.make(runtime, tenant_id, consider_all=True)]
        took = time.perf_counter() - begun
        leaves = sum(one.leaves for one in covered)
        events = [event for tenant_id in ids for event in await _bytes(runtime, tenant_id)]
        garbage.settle()
        ours: list[float] = []
        peer: list[float] = []
        for _ in range(runs):
            begun = time.perf_counter()
            verdicts = [await verify_audit(runtime, tenant_id) for tenant_id in ids]
            seconds = time.perf_counter() - begun
            assert not any(verdict.breaches or verdict.trouble for verdict in verdicts)
            assert sum(verdict.events for verdict in verdicts) == len(events)
            ours.append(len(events) / seconds)
            peer.append(_bare(events))
            sys.stderr.write(f"  {len(events):,} events verified in {seconds:.2f} s\n")
    size = sum(map(len, events)) / len(events)
    results = [
        compare(
            f"audit verify, {made.sessions:,} sessions", unit="events/s", ours=ours, peer=peer,
            peer_name="bare SHA-256 over the same bytes, in memory", higher_is_better=True,
            note=f"{len(events):,} events of {size:.0f} bytes on average, with checkpoints in the database and outside",
        )
    ]  # fmt: skip
    if leaves:
        results.append(
            compare(
                f"checkpoint that covers all of {made.sessions:,} sessions", unit="s", ours=[took], peer=[3600.0],
                peer_name="an hour, until the next is due", note=f"{leaves:,} leaves, written outside as well",
            )
        )  # fmt: skip
    return results


async def _chaining(count: int, runs: int) -> Result:
    ours: list[float] = []
    peer: list[float] = []
    refuse = httpx.MockTransport(lambda request: httpx.Response(500, text=f"nothing is sent here: {request.url}"))
    async with open_installation(SHOP, refuse) as made:
        await dispatch.dispatched(made, dispatch.IN_PROCESS, 1, "warm", dispatch.CONTACTS)
        for number in range(runs):
            for rates, chained in ((ours, True), (peer, False)):
                label = f"{'with' if chained else 'without'}-{number}"
                rates.append(await dispatch.dispatched(made, dispatch.IN_PROCESS, 1, label, count, chained=chained))
            sys.stderr.write(f"  {ours[-1]:.0f} messages/s with the chain, {peer[-1]:.0f} without\n")
    return compare(
        "dispatched messages with the chain, one worker process", unit="messages/s", ours=ours, peer=peer,
        peer_name="the same without sealing", higher_is_better=True, note=f"{count} messages, in turn",
    )  # fmt: skip


async def run(*, quick: bool) -> list[Result]:
    """Both, one after the other."""
    async with loaded(2_000 if quick else 25_000) as made:
        results = await _verification(made, 2 if quick else 5)
    return [*results, await _chaining(200 if quick else 1200, 1 if quick else 7)]
