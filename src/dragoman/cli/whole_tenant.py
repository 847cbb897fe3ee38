"""``tenant export`` and ``tenant delete`` take everything of a tenant out, or away."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from dragoman.cli import loop
from dragoman.cli.compose import locate_database, open_runtime
from dragoman.cli.shared import JsonOption, err, on_record, settings_or_exit, show, tenant_id_of
from dragoman.domain.errors import ConfigurationError
from dragoman.services.retention import whole_tenant
from dragoman.store.database import owner_connection

Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The tenant's slug.")]


def tenant_export(
    slug: Slug,
    to: Annotated[Path, typer.Argument(help="The ZIP file to create; it must not exist.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Export all data of a tenant as a ZIP: its tables as JSON lines, and its media; no passwords or keys."""
    if to.exists():
        raise ConfigurationError(f"{to} already exists")
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def job() -> Counter[str]:
        async with open_runtime(settings, urls) as runtime, owner_connection(urls.owner) as connection:
            tenant_id = await tenant_id_of(runtime, slug)
            async with runtime.database.tenant(tenant_id) as tenant:
                await on_record(runtime, tenant, tenant_id, "tenant.exported", slug, after={"file": to.name})
            with err.status("Reading") as status:
                return await whole_tenant.read_out(runtime, connection, tenant_id, to, progress=status.update)

    _told(loop.run(job()), as_json=as_json)
    err.print(f"{slug} is in {to}.")


def tenant_delete(
    slug: Slug,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete a tenant with all its data. This cannot be undone; checkpoints outside the database are kept."""
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("this cannot be undone; confirm with --yes")
        if typer.prompt("This cannot be undone. Type the slug to go on", err=True) != slug:
            raise typer.Abort
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def job() -> Counter[str]:
        async with open_runtime(settings, urls) as runtime, owner_connection(urls.owner) as connection:
            tenant_id = await tenant_id_of(runtime, slug)
            with err.status("Deleting") as status:
                return await whole_tenant.delete(runtime, connection, tenant_id, progress=status.update)

    _told(loop.run(job()), as_json=as_json)
    err.print(f"{slug} is deleted.")


def _told(done: Counter[str], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(dict(sorted(done.items())), indent=1) + "\n")
    else:
        show(
            [{"what": what, "number": number} for what, number in sorted(done.items())], as_json=False, empty="Nothing."
        )
