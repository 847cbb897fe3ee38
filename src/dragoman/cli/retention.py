"""``retention run``: remove what is older than the window, or say what that would be."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from dragoman.cli import loop
from dragoman.cli.compose import locate_database, open_runtime
from dragoman.cli.shared import JsonOption, err, settings_or_exit, show
from dragoman.services import retention
from dragoman.services.retention import Plan
from dragoman.store.database import owner_connection

group = typer.Typer(help="Remove what is older than the retention window.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Remove what is older than the retention window."""


@group.command("run")
def run(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Drop the time partitions that have left the window, and what tenants with a shorter one keep no longer."""
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def job() -> Plan:
        async with open_runtime(settings, urls) as runtime, owner_connection(urls.owner) as connection:
            with err.status("Looking for what is to go") as status:
                if dry_run:
                    return await retention.plan(
                        connection, now=runtime.clock.now(), days=runtime.settings.retention_days
                    )
                return await retention.run(runtime, connection, by_whom="command line", progress=status.update)

    done = loop.run(job())
    if as_json:
        sys.stdout.write(json.dumps(as_document(done, dry_run=dry_run), indent=1) + "\n")
        return
    rows = [
        {"tenant": s.slug, "rule": f"{s.cut.rule}, {s.cut.days} days", "before": s.cut.before.isoformat(" ", "seconds"),
         "sessions": s.sessions, **{t: s.rows[t] for t in sorted(done.rows)}}
        for s in done.shares
    ]  # fmt: skip
    show(rows, as_json=False, empty="Nothing is older than the window.")
    names = ", ".join(p.name for p in done.partitions) or "none"
    err.print(f"Partitions {'that would be dropped' if dry_run else 'dropped'}: {names}")


def as_document(done: Plan, *, dry_run: bool) -> dict[str, Any]:
    """What went, or would go, for scripts."""
    return {
        "dry_run": dry_run,
        "at": done.at.isoformat(),
        "partitions": [partition.name for partition in done.partitions],
        "rows": dict(done.rows),
        "tenants": [
            {
                "tenant": share.slug,
                "rule": share.cut.rule,
                "days": share.cut.days,
                "before": share.cut.before.isoformat(),
                "sessions": share.sessions,
                "rows": dict(share.rows),
            }
            for share in done.shares
        ],
    }
