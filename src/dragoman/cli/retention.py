"""``retention run``: remove what is older than the window, or say what that would be."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from dragoman.cli import loop
from dragoman.cli.compose import locate_database, open_runtime
from dragoman.cli.shared import (
    JsonOption,
    TenantOption,
    err,
    on_record,
    settings_or_exit,
    show,
    tenant_id_of,
    with_runtime,
)
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plurals import counted
from dragoman.domain.retention import retention_period
from dragoman.runtime import Runtime
from dragoman.services.retention import apply_retention
from dragoman.services.retention.apply_retention import RetentionPlan
from dragoman.store import tenants
from dragoman.store.database import owner_connection

MOST_DAYS = 36_500

group = typer.Typer(help="Remove what is older than the retention period.", no_args_is_help=True)


@group.callback()
def _group() -> None:
    """Remove what is older than the retention period."""


@group.command("run")
def run(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove everything past the retention period, also of tenants with a shorter one."""
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def job() -> RetentionPlan:
        async with open_runtime(settings, urls) as runtime, owner_connection(urls.owner) as connection:
            with err.status("Looking for what is to be removed") as status:
                if dry_run:
                    return await apply_retention.plan(
                        connection, now=runtime.clock.now(), days=runtime.settings.retention_days
                    )
                return await apply_retention.run(runtime, connection, by_whom="command line", progress=status.update)

    done = loop.run(job())
    if as_json:
        sys.stdout.write(json.dumps(as_document(done, dry_run=dry_run), indent=1) + "\n")
    else:
        _show(done, dry_run=dry_run)
    if done.trouble:
        err.print(done.trouble, style="red", markup=False)
        raise typer.Exit(1)


def _show(done: RetentionPlan, *, dry_run: bool) -> None:
    rows = [
        {"tenant": s.slug, "rule": f"{s.cut.rule}, {counted(s.cut.days, 'day', 'days')}",
         "before": s.cut.before.isoformat(" ", "seconds"),
         "sessions": s.sessions, **{t: s.rows[t] for t in sorted(done.rows)}}
        for s in done.shares
    ]  # fmt: skip
    show(rows, as_json=False, empty="Nothing is older than the retention period.")
    names = ", ".join(p.name for p in done.partitions) or "none"
    err.print(f"Partitions {'that would be dropped' if dry_run else 'dropped'}: {names}")


def as_document(done: RetentionPlan, *, dry_run: bool) -> dict[str, Any]:
    """What went, or would go, for scripts."""
    return {
        "dry_run": dry_run,
        "at": done.at.isoformat(),
        "partitions": [partition.name for partition in done.partitions],
        "rows": dict(done.rows),
        "trouble": done.trouble,
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


def tenant_retention(
    days: Annotated[str, typer.Argument(help="A number of days, or `installation` for the installation's period.")],
    tenant_slug: TenantOption,
) -> None:
    """Shorten a tenant's retention period; older content is hidden at once and removed by the next run."""
    if days != "installation" and (not days.isdecimal() or not 1 <= int(days) <= MOST_DAYS):
        raise ConfigurationError(f"{days!r} is not a retention period; use 1 to {MOST_DAYS} days, or installation")

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        own = None if days == "installation" else int(days)
        async with runtime.database.tenant(tenant_id) as connection:
            known = await tenants.retention_days(connection, tenant_id)
            await tenants.set_retention_days(connection, tenant_id, own)
            await on_record(
                runtime, connection, tenant_id, "retention.changed", tenant_slug, {"days": known}, {"days": own}
            )
        held = retention_period(runtime.settings.retention_days, own)
        err.print(f"{tenant_slug} keeps {counted(held.days, 'day', 'days')}, by the {held.rule}'s rule.")

    with_runtime(job)
