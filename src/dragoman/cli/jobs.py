"""``jobs``: what failed and was given up; retry or dismiss it."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, show, tenant_id_of, with_runtime
from dragoman.runtime import Runtime
from dragoman.services.failed_jobs.act_on_failed_job import dismiss_job, retry_job
from dragoman.store import failed_jobs
from dragoman.store.accounts.actions import COMMAND_LINE

group = typer.Typer(help="Show, retry or dismiss jobs that failed.", no_args_is_help=True)

MOST_SHOWN = 1000

FailedJobId = Annotated[UUID, typer.Argument(metavar="JOB_ID", help="As `dragoman jobs list` prints it.")]


@group.command("list")
def list_all(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List failed jobs: those given up first, then those still being retried; latest first."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await failed_jobs.list_all(connection, tenant_id, limit=MOST_SHOWN)
        return [
            {
                "id": one.failed_job_id,
                "job": one.entrypoint,
                "state": "retrying" if one.given_up_at is None else "given up",
                "attempts": one.attempts,
                "last failed": one.last_failed_at,
                "next attempt": one.retry_at if one.given_up_at is None else None,
                "session": one.subject.get("session_id"),
                "cause": one.cause,
            }
            for one in found
        ]

    show(with_runtime(job), as_json=as_json, empty="No failed jobs.")


@group.command("retry")
def retry(failed_job_id: FailedJobId, tenant_slug: TenantOption) -> None:
    """Retry a job that was given up."""

    async def job(runtime: Runtime) -> None:
        await retry_job(runtime, await tenant_id_of(runtime, tenant_slug), failed_job_id, COMMAND_LINE)

    with_runtime(job)
    err.print("The job is being retried.")


@group.command("dismiss")
def dismiss(failed_job_id: FailedJobId, tenant_slug: TenantOption) -> None:
    """Dismiss a job that was given up: it leaves the list."""

    async def job(runtime: Runtime) -> None:
        await dismiss_job(runtime, await tenant_id_of(runtime, tenant_slug), failed_job_id, COMMAND_LINE)

    with_runtime(job)
    err.print("The job is dismissed.")
