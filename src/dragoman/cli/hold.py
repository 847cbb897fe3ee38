"""``hold``: sessions that retention leaves alone, because somebody must keep them for the law."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.services.retention import legal_holds
from dragoman.store import legal_holds as store
from dragoman.store.accounts.actions import COMMAND_LINE

group = typer.Typer(help="Put sessions on legal hold.", no_args_is_help=True)

Session = Annotated[UUID, typer.Argument(metavar="SESSION_ID", help="As the conversation's page shows it.")]


@group.command("add")
def add(
    session_id: Session, tenant_slug: TenantOption, reason: Annotated[str, typer.Option(help="Why it must be kept.")]
) -> None:
    """Put a session on legal hold: retention removes nothing of it until the hold is lifted."""
    if wrong := legal_holds.fault(reason):
        raise ConfigurationError(wrong)

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        await legal_holds.place_hold(runtime, tenant_id, session_id, reason, COMMAND_LINE)

    with_runtime(job)
    err.print("The session is on legal hold.")


@group.command("lift")
def lift(session_id: Session, tenant_slug: TenantOption) -> None:
    """Lift a legal hold; the next retention run removes what is past the retention period."""

    async def job(runtime: Runtime) -> None:
        await legal_holds.lift_hold(runtime, await tenant_id_of(runtime, tenant_slug), session_id, COMMAND_LINE)

    with_runtime(job)
    err.print("The legal hold is lifted.")


@group.command("list")
def list_all(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List the tenant's legal holds, latest first."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await store.of(connection, tenant_id)
        return [{"session": h.session_id, "reason": h.reason, "by": h.by_whom, "at": h.at} for h in found]

    show(with_runtime(job), as_json=as_json, empty="No legal holds.")
