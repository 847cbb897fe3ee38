"""Exports at a million sessions: rows a second, and how much memory the process needs for it above idle.

Each format is written by a process of its own, whose idle size is what it has after an export of nothing: database
connected, libraries loaded, writers made once. Plain exports are of all sessions of all tenants, one file for each
tenant; those with transcript and timeline are of one tenant that has fewer, since a row of theirs is fifteen. What was
written is read back, by pyarrow where it can, and its rows and types are compared with the database. Beside it: COPY
of the same columns as CSV by PostgreSQL itself, and the limit of 200 MB.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import logging
import multiprocessing
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import asyncpg
import psutil  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from bench.harness import Result, compare
from bench.installation import open_runtime
from bench.load.kept import Loaded, loaded
from dragoman.cli import logs
from dragoman.services.audit.verify_bundle import verify_bundle
from dragoman.services.exports.columns import CONVERSATION
from dragoman.services.exports.export_conversations import MOST_IN_BUNDLE, Export, stream
from dragoman.services.exports.formats import Format, Parts
from dragoman.services.visibility import EVERYTHING
from dragoman.store.conversation_list.conversations import COLUMNS, Filters
from dragoman.store.embedded import DatabaseURLs

LIMIT_MB = 200.0
MOST_WITH_PARTS = 20_000
"""Of all tenants the largest with no more sessions than that is exported with its parts."""
FORMATS: tuple[Format, ...] = ("csv", "jsonl", "parquet")
NOBODY = UUID(int=1)
MB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One format: rows and seconds of all files together, bytes, and memory in MB."""

    rows: int
    seconds: float
    size: int
    idle: float
    peak: float


def _export(tenant_id: UUID, kind: Format, parts: Parts, filters: Filters | None = None) -> Export:
    return Export(
        tenant_id=tenant_id, filters=filters or Filters(), kind=kind, parts=parts, visibility=EVERYTHING,
        cutoff=datetime.now(UTC) - timedelta(days=3650),
    )  # fmt: skip


def _in_a_process(
    home: Path, urls: DatabaseURLs, kind: Format, parts: Parts, tenants: Sequence[UUID], folder: Path
) -> None:
    """Write a file for each tenant, and what it took as ``measured.json``."""
    logs.configure("text", level=logging.WARNING)
    measured = asyncio.run(_write(home, urls, kind, parts, tenants, folder))
    (folder / "measured.json").write_text(json.dumps(measured))


async def _write(
    home: Path, urls: DatabaseURLs, kind: Format, parts: Parts, tenants: Sequence[UUID], folder: Path
) -> dict[str, float]:
    rows = size = done = 0

    def progress(now_done: int) -> None:
        nonlocal done
        done = now_done

    async with open_runtime(home, urls) as runtime:
        async for _ in stream(runtime, _export(NOBODY, kind, parts)):
            pass
        idle = psutil.Process().memory_info().rss
        begun = time.perf_counter()
        for number, tenant_id in enumerate(tenants):
            done = 0
            with (folder / f"{number}").open("wb") as file:
                async for piece in stream(runtime, _export(tenant_id, kind, parts), progress):
                    file.write(piece)
                    size += len(piece)
            rows += done
        seconds = time.perf_counter() - begun
    return {"rows": rows, "seconds": seconds, "size": size, "idle": idle / MB, "peak": _peak() / MB}


def _peak() -> int:
    """The most memory that this process has ever had; ``ru_maxrss`` would have its parent's, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


async def _measure(made: Loaded, kind: Format, parts: Parts, tenants: Sequence[UUID], folder: Path) -> Measured:
    for left in folder.iterdir():
        left.unlink()
    process = multiprocessing.get_context("spawn").Process(
        target=_in_a_process, args=(made.home, made.urls, kind, parts, tenants, folder)
    )
    process.start()
    await asyncio.to_thread(process.join)
    if process.exitcode != 0:
        raise RuntimeError(f"the export as {kind} ended with {process.exitcode}")
    return Measured(**json.loads((folder / "measured.json").read_text()))


async def _copied(connection: asyncpg.Connection[asyncpg.Record], tenants: Sequence[UUID]) -> float:
    """Seconds that PostgreSQL takes to write the same columns of the same rows as CSV."""
    begun = time.perf_counter()

    async def nowhere(_: bytes) -> None:
        return

    for tenant_id in tenants:
        await connection.execute(f"SET app.tenant = '{tenant_id}'")
        await connection.copy_from_query(
            f"SELECT {COLUMNS} FROM session s WHERE tenant_id = $1", tenant_id, output=nowhere, format="csv"
        )
    return time.perf_counter() - begun


def _rows_read_back(kind: Format, parts: Parts, file: Path) -> int:
    """How many conversations the file has; raises AssertionError where a type is not what docs/exports.md says."""
    if kind == "parquet":
        opened = pq.ParquetFile(file)
        types = {field.name: field.type for field in opened.schema_arrow}
        assert types["started_at"] == pa.timestamp("us", tz="UTC"), types
        assert (types["message_count"], types["cost"]) == (pa.int64(), pa.decimal128(18, 6)), types
        assert pa.types.is_list(types["transcript"]) if parts.any else "transcript" not in types
        first = next(opened.iter_batches(batch_size=10)).to_pylist() if opened.metadata.num_rows else []
        assert all(isinstance(row["cost"], Decimal) and row["started_at"].tzinfo for row in first)
        return int(opened.metadata.num_rows)
    if kind == "csv":
        return _csv_rows(file, parts)
    rows = 0
    with file.open(encoding="utf-8") as lines:
        for rows, line in enumerate(lines, 1):
            if rows % 1000 == 1:
                record = json.loads(line)
                assert datetime.fromisoformat(record["started_at"]).utcoffset() == timedelta()
                assert isinstance(record["message_count"], int)
                Decimal(record["cost"])
                assert not parts.transcript or len(record["transcript"]) == record["message_count"]
    return rows


def _csv_rows(file: Path, parts: Parts) -> int:
    types = {
        "started_at": pa.timestamp("us", tz="UTC"), "message_count": pa.int64(), "cost": pa.decimal128(18, 6),
    }  # fmt: skip
    options = pa.csv.ConvertOptions(column_types=types)
    parse = pa.csv.ParseOptions(newlines_in_values=True)
    if not parts.any:
        reader = pa.csv.open_csv(file, convert_options=options, parse_options=parse)
        assert reader.schema.names == [column.name for column in CONVERSATION]
        return sum(batch.num_rows for batch in reader)
    with zipfile.ZipFile(file) as archive:
        for name in ("messages.csv", "events.csv"):
            with archive.open(name) as member:
                read = csv.DictReader(io.TextIOWrapper(member, "utf-8-sig", newline=""))
                assert sum(1 for _ in read) > 0
        with archive.open("conversations.csv") as member:
            return sum(1 for _ in csv.DictReader(io.TextIOWrapper(member, "utf-8-sig", newline="")))


def _memory(name: str, found: Measured) -> Result:
    return compare(
        f"export memory: {name}", unit="MB", ours=[max(found.peak - found.idle, 0.1)], peer=[LIMIT_MB],
        peer_name="limit", note=f"peak {found.peak:.0f} MB, idle {found.idle:.0f} MB, {found.rows:,} conversations",
    )  # fmt: skip


async def _with(made: Loaded, kind: Format, tenant_id: UUID, count: int, beside: float, folder: Path) -> list[Result]:
    """One tenant's conversations with all that belongs to them."""
    parts = Parts(transcript=True, timeline=True)
    found = await _measure(made, kind, parts, [tenant_id], folder)
    assert found.rows == count, (found.rows, count)
    if kind == "bundle":
        verdict = verify_bundle(folder / "0")
        assert (verdict.findings, verdict.sessions) == ([], count), verdict.findings[:3]
    else:
        assert _rows_read_back(kind, parts, folder / "0") == count
    name = f"{kind} with transcript and timeline, {count:,} conversations"
    rate = compare(
        f"export: {name}", unit="rows/s", ours=[found.rows / found.seconds], peer=[beside],
        peer_name="COPY of the rows alone", higher_is_better=True,
        note=f"{found.size / MB:.0f} MB in {found.seconds:.1f} s",
    )  # fmt: skip
    return [rate, _memory(name, found)]


async def run(*, quick: bool) -> list[Result]:
    """Every format at a million sessions, then with the parts of one smaller tenant."""
    results: list[Result] = []
    async with loaded(20_000 if quick else 1_000_000) as made:
        owner = await asyncpg.connect(made.urls.owner)
        counted = {
            row["tenant_id"]: row["count"]
            for row in await owner.fetch("SELECT tenant_id, count(*) FROM session GROUP BY 1 ORDER BY 2 DESC")
        }
        await owner.close()
        tenants, total = list(counted), sum(counted.values())
        bare = await asyncpg.connect(made.urls.application, server_settings={"jit": "off"})
        with tempfile.TemporaryDirectory(prefix="dragoman-bench-", dir=made.home) as directory:
            folder = Path(directory)
            for kind in FORMATS:
                seconds = await _copied(bare, tenants)
                found = await _measure(made, kind, Parts(), tenants, folder)
                assert found.rows == total, (found.rows, total)
                read = sum(_rows_read_back(kind, Parts(), folder / f"{n}") for n in range(len(tenants)))
                assert read == total, (read, total)
                sys.stderr.write(f"  {kind}: {total:,} rows in {found.seconds:.1f} s, COPY {seconds:.1f} s\n")
                name = f"{kind}, {total:,} conversations"
                results.append(
                    compare(
                        f"export: {name}", unit="rows/s", ours=[total / found.seconds], peer=[total / seconds],
                        peer_name="COPY as CSV", higher_is_better=True,
                        note=f"{found.size / MB:.0f} MB in {found.seconds:.1f} s; read back whole, types compared",
                    )
                )  # fmt: skip
                results.append(_memory(name, found))
            few = 500 if quick else MOST_WITH_PARTS
            fewer = max((t for t in tenants if counted[t] <= few), key=lambda t: counted[t])
            beside = counted[fewer] / await _copied(bare, [fewer])
            kinds: tuple[Format, ...] = ("bundle",) if quick else (*FORMATS, "bundle")
            for kind in kinds:
                if kind == "bundle" and counted[fewer] > MOST_IN_BUNDLE:
                    fewer = max((t for t in tenants if counted[t] <= MOST_IN_BUNDLE), key=lambda t: counted[t])
                results += await _with(made, kind, fewer, counted[fewer], beside, folder)
        await bare.close()
    return results
