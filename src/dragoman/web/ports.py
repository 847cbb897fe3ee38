"""How a route gets at the runtime, and at the few things that live as long as the application."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Request

from dragoman.runtime import Runtime


def runtime_of(request: Request) -> Runtime:
    """The runtime that the application was made with."""
    runtime: Runtime = request.app.state.runtime
    return runtime


def retention_cutoff(runtime: Runtime) -> datetime:
    """The start of the retention window: no message and no event from before it is shown."""
    return runtime.clock.now() - timedelta(days=runtime.settings.retention_days)


def request_id_of(request: Request) -> str:
    """The id that stands in the response's headers, in problems and in the logs."""
    return str(request.scope.get("dragoman.request_id", ""))


Ports = Annotated[Runtime, Depends(runtime_of)]
