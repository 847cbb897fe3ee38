"""How a route gets at the runtime, and at the few things that live as long as the application."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request

from dragoman.domain.retention import retention_period
from dragoman.runtime import Runtime


def runtime_of(request: Request) -> Runtime:
    """The runtime that the application was made with."""
    runtime: Runtime = request.app.state.runtime
    return runtime


def retention_cutoff(runtime: Runtime, tenant_days: int | None) -> datetime:
    """The start of the tenant's retention window: no message and no event from before it is shown.

    *tenant_days* is the tenant's own window as the identity has it.
    """
    return retention_period(runtime.settings.retention_days, tenant_days).start(runtime.clock.now())


def request_id_of(request: Request) -> str:
    """The id that stands in the response's headers, in problems and in the logs."""
    return str(request.scope.get("dragoman.request_id", ""))


async def _ports(request: Request) -> Runtime:
    # Asynchronous, because the framework would call anything else in a thread.
    return runtime_of(request)


RuntimeDependency = Annotated[Runtime, Depends(_ports)]
