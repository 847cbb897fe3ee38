"""Settings: what failed and was given up, with its cause, to be retried or dismissed, and what is still tried."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.services.failed_jobs.act_on_failed_job import dismiss_job, retry_job
from dragoman.services.failed_jobs.kinds import KINDS
from dragoman.store import failed_jobs
from dragoman.translations import deferred, translated
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.page import render, said
from dragoman.web.http.dependencies import RuntimeDependency

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/failed-jobs"

MOST_SHOWN = 200

Settings = Annotated[Principal, Depends(require("settings.admin"))]

_DONE = {
    "retried": deferred("The job is being retried. If it fails again, it will appear here."),
    "dismissed": deferred("Job dismissed."),
}


@router.get(ADDRESS)
async def failed_jobs_page(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show what was given up, the latest first, and what is still tried."""
    return await _page(request, runtime, identity)


@router.post(f"{ADDRESS}/{{failed_job_id}}/retry")
async def retry(request: Request, runtime: RuntimeDependency, identity: Settings, failed_job_id: UUID) -> Response:
    """Have a job tried again."""
    try:
        await retry_job(runtime, identity.tenant_id, failed_job_id, administrator_of(identity))
    except (NotFoundError, ChangeRefusedError) as error:
        return await _page(request, runtime, identity, mistake=said(error))
    return RedirectResponse(f"{ADDRESS}?done=retried", 303)


@router.post(f"{ADDRESS}/{{failed_job_id}}/dismiss")
async def dismiss(request: Request, runtime: RuntimeDependency, identity: Settings, failed_job_id: UUID) -> Response:
    """Take a job off the list."""
    try:
        await dismiss_job(runtime, identity.tenant_id, failed_job_id, administrator_of(identity))
    except NotFoundError as error:
        return await _page(request, runtime, identity, mistake=said(error))
    return RedirectResponse(f"{ADDRESS}?done=dismissed", 303)


async def _page(request: Request, runtime: RuntimeDependency, identity: Principal, *, mistake: str = "") -> Response:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await failed_jobs.list_all(connection, identity.tenant_id, limit=MOST_SHOWN)
    shown = [replace(job, cause=identity.visibility.typed(job.cause)) for job in found]
    return render(
        request,
        "settings/failed_jobs.html",
        status_code=404 if mistake else 200,
        given_up=[job for job in shown if job.given_up_at is not None],
        retrying=[job for job in shown if job.given_up_at is None],
        kinds=KINDS,
        acts={name: translated(kind.label).lower() for name, kind in KINDS.items()},
        most=MOST_SHOWN if len(found) == MOST_SHOWN else None,
        address=ADDRESS,
        mistake=mistake,
        done=_DONE.get(request.query_params.get("done", "")),
    )
