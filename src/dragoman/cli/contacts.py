"""``contact``: erase one so that the record can still be checked, and merge those who have one number."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from dragoman.cli import loop
from dragoman.cli.compose import locate_database, open_runtime
from dragoman.cli.shared import JsonOption, TenantOption, err, settings_or_exit, show, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.contacts import erase_contact
from dragoman.services.contacts.erase_contact import Erasure
from dragoman.services.contacts.merge_spellings import MergeReport, merge_spellings
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.database import owner_connection

group = typer.Typer(help="Erase and merge contacts.", no_args_is_help=True)


@group.command("merge")
def merge(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """Merge contacts that are one number in two spellings, as workers do every hour."""

    async def job(runtime: Runtime) -> MergeReport:
        return await merge_spellings(runtime, await tenant_id_of(runtime, tenant_slug), COMMAND_LINE)

    done = with_runtime(job)
    if as_json:
        sys.stdout.write(json.dumps({"numbers": done.numbers, "contacts": done.contacts}) + "\n")
    else:
        contacts = counted(done.contacts, "contact", "contacts")
        err.print(f"{contacts} merged, for {counted(done.numbers, 'number', 'numbers')}.")


@group.command("erase")
def erase(
    contact: Annotated[str, typer.Argument(help="A phone number, an email address, or an id.")],
    tenant_slug: TenantOption,
    *,
    reason: Annotated[
        str, typer.Option(help="Kept on record for good: name the request, not the person.")
    ] = "at the contact's request",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Erase a contact: name, numbers, messages, files. The record can still be verified. This cannot be undone."""
    if wrong := erase_contact.fault(reason):
        raise ConfigurationError(wrong)
    settings = settings_or_exit()
    urls = locate_database(settings)

    async def job(*, rehearse: bool) -> Erasure:
        async with open_runtime(settings, urls) as runtime, owner_connection(urls.owner) as connection:
            tenant_id = await tenant_id_of(runtime, tenant_slug)
            contact_id = await erase_contact.find(connection, tenant_id, contact)
            with err.status("Looking for what is to go") as status:
                return await erase_contact.erase_contact(
                    runtime, connection, tenant_id, contact_id, reason=reason, by=COMMAND_LINE, rehearse=rehearse,
                    progress=status.update,
                )  # fmt: skip

    if not dry_run and not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError(
                "this cannot be undone; confirm with --yes, or use --dry-run to see what would be erased"
            )
        _show(loop.run(job(rehearse=True)), dry_run=True)
        typer.confirm("Erase it? This cannot be undone.", abort=True, err=True)
    done = loop.run(job(rehearse=dry_run))
    if as_json:
        document = {
            "dry_run": dry_run, "contact_id": str(done.contact_id), "contacts": done.contacts,
            "sessions": done.sessions, "rows": dict(sorted(done.rows.items())), "trouble": done.trouble,
        }  # fmt: skip
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    else:
        _show(done, dry_run=dry_run)
    if done.trouble:
        err.print(done.trouble, style="red", markup=False)
        raise typer.Exit(1)


def _show(done: Erasure, *, dry_run: bool) -> None:
    rows = [{"table": table, "rows": number} for table, number in sorted(done.rows.items())]
    show(rows, as_json=False, empty="Nothing is left of this contact.")
    conversations = counted(done.sessions, "conversation", "conversations")
    err.print(f"Contact {done.contact_id}, {conversations}: {'would be erased' if dry_run else 'erased'}.")
