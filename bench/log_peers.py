"""Runs the peers of the log list over the same rows and sets their times beside ours.

They are installed for this alone, from ``requirements-bench.lock``, into ``.cache/peers``.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import asyncpg

from bench.harness import Result, compare, percentile
from bench.load.kept import Loaded

ROOT = Path(__file__).resolve().parents[1]
PEERS = ROOT / ".cache" / "peers"
COLUMNS = (
    "session_id, state, outcome, skill, contact_name, contact_phone, business_partner_name, last_user_message, "
    "message_count, started_at, last_activity_at"
)
INDEXED = ("last_activity_at", "state, last_activity_at", "outcome, last_activity_at", "skill, last_activity_at")


def _install() -> Path:
    lock = ROOT / "requirements-bench.lock"
    done = PEERS / "installed"
    if not done.exists() or done.read_text() != lock.read_text():
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, PEERS], check=True)
        into: list[str | Path] = ["--python", PEERS / "bin" / "python"]
        subprocess.run([uv, "pip", "install", "--quiet", "--require-hashes", *into, "-r", lock], check=True)
        done.write_text(lock.read_text())
    return PEERS / "bin" / "python"


async def _copy_to_sqlite(made: Loaded, file: Path) -> None:
    """The largest tenant's rows with the list's columns and the indexes that anybody would make."""
    if file.exists():
        return
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    lite = sqlite3.connect(fresh)
    lite.execute(f"CREATE TABLE session ({COLUMNS.replace('session_id', 'session_id TEXT PRIMARY KEY', 1)})")
    places = ", ".join("?" * len(COLUMNS.split(", ")))
    owner = await asyncpg.connect(made.urls.owner)
    async with owner.transaction():
        rows: list[tuple[object, ...]] = []
        async for row in owner.cursor(f"SELECT {COLUMNS} FROM session WHERE tenant_id = $1", made.tenant_id):
            rows.append(tuple(value if isinstance(value, int | None) else str(value) for value in row.values()))
            if len(rows) == 10_000:
                lite.executemany(f"INSERT INTO session VALUES ({places})", rows)
                rows = []
        lite.executemany(f"INSERT INTO session VALUES ({places})", rows)
    await owner.close()
    for columns in INDEXED:
        lite.execute(f"CREATE INDEX 'by {columns}' ON session ({columns})")
    lite.execute("ANALYZE")
    lite.commit()
    lite.close()
    fresh.rename(file)


async def _deep(made: Loaded) -> str:
    """Datasette's own token for the page two thirds down the list."""
    owner = await asyncpg.connect(made.urls.owner)
    row = await owner.fetchrow(
        "SELECT last_activity_at, session_id FROM session WHERE tenant_id = $1 ORDER BY last_activity_at DESC "
        "OFFSET (SELECT count(*) * 2 / 3 FROM session WHERE tenant_id = $1) LIMIT 1",
        made.tenant_id,
    )
    await owner.close()
    assert row is not None
    escaped = "".join(c if c.isalnum() or c in "-_" else f"~{ord(c):02X}" for c in str(row["last_activity_at"]))
    return f"{escaped},{row['session_id']}"


async def compare_with_peers(made: Loaded, ours: dict[str, list[float]], *, requests: int) -> list[Result]:
    """Each screen that a peer has, beside our page."""
    python = await asyncio.to_thread(_install)
    file = made.home / "rows.db"
    await _copy_to_sqlite(made, file)
    owner = await asyncpg.connect(made.urls.owner)
    phone = await owner.fetchval("SELECT contact_phone FROM session WHERE tenant_id = $1 LIMIT 1", made.tenant_id)
    await owner.close()
    digits, scripts = phone[-7:], ROOT / "bench" / "peers"
    superuser = f"{made.urls.superuser}".replace("/postgres?", "/dragoman?")
    calls: dict[str, list[str | Path]] = {
        "Django admin": [scripts / "django_admin.py", superuser, str(made.tenant_id), digits, str(requests)],
        "Datasette": [scripts / "datasette_rows.py", file, digits, str(requests), await _deep(made)],
    }
    results = []
    for peer, call in calls.items():
        said = await asyncio.to_thread(subprocess.run, [python, *call], check=True, capture_output=True, text=True)
        times: dict[str, list[float]] = json.loads(said.stdout.splitlines()[-1])
        for name, taken in times.items():
            results.append(
                compare(
                    f"page: {name}, beside {peer}, {made.sessions:,} sessions",
                    unit="ms",
                    ours=[percentile(ours[name], 0.5)],
                    peer=[percentile(taken, 0.5)],
                    peer_name=peer,
                    note=f"p50 of {len(ours[name])} and {len(taken)} requests",
                )
            )
    return results
