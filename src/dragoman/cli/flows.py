"""``flow`` and ``menu`` take definitions in and out as YAML files."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, on_record, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError, NotFoundError
from dragoman.runtime import Runtime
from dragoman.services.catalogue.import_definitions import (
    FaultyFileError,
    Imported,
    flow_to_yaml,
    import_flow,
    import_menu,
    menu_to_yaml,
)
from dragoman.store.catalogue import flows, menus

flow = typer.Typer(help="Import, export, list, retire and restore flows.", no_args_is_help=True)
menu = typer.Typer(help="Import, export and list menus.", no_args_is_help=True)

MAX_BYTES = 1024 * 1024

File = Annotated[Path, typer.Argument(help="A YAML file; - for standard input.", allow_dash=True)]


@flow.command("import")
def flow_import(file: File, tenant_slug: TenantOption) -> None:
    """Import a flow; sessions that are in an older version continue with it."""

    async def job(runtime: Runtime, tenant_id: UUID, text: str) -> Imported:
        return await import_flow(runtime, tenant_id, text)

    done = _import(file, tenant_slug, job)
    _tell("Flow", done)
    if done.retired:
        err.print(
            f"It is still retired. To use it: dragoman flow restore {done.name} --tenant {tenant_slug}", markup=False
        )


@flow.command("export")
def flow_export(name: str, tenant_slug: TenantOption) -> None:
    """Print a flow's current version as YAML."""

    async def job(runtime: Runtime) -> str:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = (await flows.list_all(connection, tenant_id)).get(name)
        if found is None:
            raise NotFoundError(f"tenant {tenant_slug} has no flow {name}")
        return flow_to_yaml(found)

    sys.stdout.write(with_runtime(job))


@flow.command("list")
def flow_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List flows in their current versions, including retired ones."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await flows.list_all(connection, tenant_id)
        return [
            {
                "name": f.name,
                "version": f.version,
                "label": f.label,
                "steps": len(f.steps),
                "retired": "yes" if f.retired else "no",
            }
            for f in found.values()
        ]

    show(with_runtime(job), as_json=as_json, empty="No flows yet. Import one: dragoman flow import FILE")


@flow.command("retire")
def flow_retire(name: str, tenant_slug: TenantOption) -> None:
    """Retire a flow: nobody can start it any more; running sessions continue, and its history is kept."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await flows.retire(connection, tenant_id, name, now=runtime.clock.now())
            await on_record(runtime, connection, tenant_id, "flow.retired", name)
        err.print(f"{name} is retired.")

    with_runtime(job)


@flow.command("restore")
def flow_restore(name: str, tenant_slug: TenantOption) -> None:
    """Put a retired flow back into use."""

    async def job(runtime: Runtime) -> None:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            await flows.restore(connection, tenant_id, name)
            await on_record(runtime, connection, tenant_id, "flow.restored", name)
        err.print(f"{name} is in use again.")

    with_runtime(job)


@menu.command("import")
def menu_import(
    file: File,
    tenant_slug: TenantOption,
    *,
    default: Annotated[bool, typer.Option("--default", help="Offer this menu to contacts from now on.")] = False,
) -> None:
    """Import a menu. The first one becomes the default."""

    async def job(runtime: Runtime, tenant_id: UUID, text: str) -> Imported:
        return await import_menu(runtime, tenant_id, text, as_default=default)

    _tell("Menu", _import(file, tenant_slug, job))


@menu.command("export")
def menu_export(
    tenant_slug: TenantOption,
    name: Annotated[str | None, typer.Argument(help="The menu's name; without it, the default menu.")] = None,
) -> None:
    """Print a menu's current version as YAML."""

    async def job(runtime: Runtime) -> str:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await menus.list_all(connection, tenant_id)
        wanted = next((m for m, is_default in found if (m.name == name if name else is_default)), None)
        if wanted is None:
            raise NotFoundError(f"tenant {tenant_slug} has no {f'menu {name}' if name else 'default menu'}")
        return menu_to_yaml(wanted)

    sys.stdout.write(with_runtime(job))


@menu.command("list")
def menu_list(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """List menus in their current versions."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            found = await menus.list_all(connection, tenant_id)
        return [{"name": m.name, "version": m.version, "default": "yes" if d else "no"} for m, d in found]

    show(with_runtime(job), as_json=as_json, empty="No menus yet. Import one: dragoman menu import FILE")


def _import(file: Path, tenant_slug: str, job: Callable[[Runtime, UUID, str], Awaitable[Imported]]) -> Imported:
    """Take *file* in; its faults are told one a line, as compilers do, and end the command."""
    text = _read(file)

    async def run(runtime: Runtime) -> Imported | FaultyFileError:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        try:
            return await job(runtime, tenant_id, text)
        except FaultyFileError as error:
            return error

    done = with_runtime(run)
    if isinstance(done, FaultyFileError):
        for fault in done.faults:
            err.print(f"{file}:{fault.line}: {fault.text}", markup=False)
        raise typer.Exit(1)
    return done


def _read(file: Path) -> str:
    if str(file) == "-":
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    else:
        with file.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{file} is larger than {MAX_BYTES // 1024} KiB; too large for a flow or a menu")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{file}:{line}: the file is not UTF-8") from error


def _tell(what: str, done: Imported) -> None:
    came = f"is now at version {done.version}" if done.changed else f"stays at version {done.version}"
    err.print(f"{what} {done.name} {came}.", markup=False)
