"""What the commands share: settings, one runtime for a short job, and the two ways to print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

from dragoman.cli import loop
from dragoman.cli.compose import locate_database, open_runtime
from dragoman.domain.errors import NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.audit.on_record import put_on_record
from dragoman.settings import Settings
from dragoman.store import tenants
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.database import Connection

T = TypeVar("T")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant's slug.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def settings_or_exit() -> Settings:
    """The settings of this environment; problems are told by ``main``."""
    return Settings.from_environment(os.environ)


def with_runtime(job: Callable[[Runtime], Awaitable[T]]) -> T:
    """Run *job* against this installation."""
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def run() -> T:
        async with open_runtime(settings, urls) as runtime:
            return await job(runtime)

    return loop.run(run())


async def tenant_id_of(runtime: Runtime, slug: str) -> UUID:
    """Find the id of the tenant called *slug*. Raises NotFoundError."""
    async with runtime.database.directory() as connection:
        found = await tenants.find(connection, slug)
    if found is None:
        raise NotFoundError(f"there is no tenant called {slug}")
    return found


async def on_record(
    runtime: Runtime,
    connection: Connection,
    tenant_id: UUID,
    action: str,
    name: object,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Put on the administrators' record what somebody at the command line does: *action* (``user.disabled``) to *name*.

    Neither side may hold a secret.
    """
    await put_on_record(
        runtime, connection, tenant_id, action, str(name),
        object_kind=action.partition(".")[0], by=COMMAND_LINE, before=before or {}, after=after or {},
    )  # fmt: skip


def show(rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str) -> None:
    """Print *rows* as a table, or as a JSON array."""
    if as_json:
        sys.stdout.write(json.dumps(list(rows), default=str, indent=1) + "\n")
        return
    if not rows:
        err.print(empty)
        return
    table = Table(*rows[0].keys(), box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    out.print(table)
