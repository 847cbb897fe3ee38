"""``export``: the conversations that fit a filter, as a file that gets its name only when it is whole."""

from __future__ import annotations

import dataclasses
from contextlib import aclosing
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from dragoman.cli.shared import TenantOption, err, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.domain.plurals import counted
from dragoman.domain.retention import retention_period
from dragoman.runtime import Runtime
from dragoman.services.exports.export_conversations import Export, record, stream
from dragoman.services.exports.formats import Parts, shape
from dragoman.services.visibility import Visibility
from dragoman.store import tenants
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.conversation_list.conversations import Filters
from dragoman.web.api.filters import ConversationQuery


def export(
    file: Annotated[
        Path, typer.Argument(help="The file to write; its ending (.csv, .zip, .jsonl, .parquet) sets the format.")
    ],
    tenant_slug: TenantOption,
    *,
    filters: Annotated[
        list[str], typer.Option("--filter", help="A filter of the API, as name=value; can be repeated.")
    ] = [],  # noqa: B006 - Typer reads it
    transcript: Annotated[bool, typer.Option("--transcript", help="Include the messages.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Include the audit events.")] = False,
    bundle: Annotated[bool, typer.Option("--bundle", help="Write an evidence bundle (.zip).")] = False,
    session: Annotated[str | None, typer.Option(help="Only this session.")] = None,
    masked: Annotated[bool, typer.Option("--masked", help="Mask phone numbers.")] = False,
) -> None:
    """Export the conversations that match all filters to FILE; --transcript and --timeline make a ZIP of CSV files.

    With --bundle it is evidence, which `dragoman audit verify --bundle FILE` checks.
    """
    if bundle:
        transcript = timeline = True
    kinds = {".csv": "csv", ".zip": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
    parts = Parts(transcript=transcript, timeline=timeline)
    kind: str | None = kinds.get(file.suffix)
    if kind is None or file.suffix != f".{shape(kind, parts).extension}":  # type: ignore[arg-type]
        raise ConfigurationError(f"{file.name}: use .jsonl, .parquet, or {'.zip' if parts.any else '.csv'} here")
    if bundle:
        kind = "bundle"
    wanted = _filters(filters)
    if session is not None:
        wanted = dataclasses.replace(wanted, session_id=_uuid(session))

    async def job(runtime: Runtime) -> tuple[int, str]:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        async with runtime.database.tenant(tenant_id) as connection:
            own = await tenants.retention_days(connection, tenant_id)
        what = Export(
            tenant_id=tenant_id,
            filters=wanted,
            kind=kind,  # type: ignore[arg-type]
            parts=parts,
            visibility=Visibility(unmasked=not masked),
            cutoff=retention_period(runtime.settings.retention_days, own).start(runtime.clock.now()),
        )
        await record(runtime, what, COMMAND_LINE, "export.streamed", file=file.name)
        return await _write(runtime, what, file)

    done, manifest_sha256 = with_runtime(job)
    err.print(f"{counted(done, 'conversation is', 'conversations are')} in {file}.")
    if manifest_sha256:
        err.print(f"SHA-256 of its manifest (note it elsewhere): {manifest_sha256}")


async def _write(runtime: Runtime, what: Export, file: Path) -> tuple[int, str]:
    """Write the file; how many conversations are in it, and the SHA-256 of a bundle's manifest."""
    done, manifest_sha256 = 0, ""
    unfinished = file.with_name(f"{file.name}.part")
    with err.status("Exporting") as status:

        def count(rows: int) -> None:
            nonlocal done
            done = rows
            status.update(f"Exporting: {counted(rows, 'conversation', 'conversations')}")

        def note(digest: str) -> None:
            nonlocal manifest_sha256
            manifest_sha256 = digest

        try:
            with unfinished.open("wb") as handle:
                async with aclosing(stream(runtime, what, count, note)) as pieces:
                    async for piece in pieces:
                        handle.write(piece)
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
    return done, manifest_sha256


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ConfigurationError(f"{text} is not a session id") from error


def _filters(given: list[str]) -> Filters:
    pairs: dict[str, list[str]] = {}
    for text in given:
        name, _, value = text.partition("=")
        pairs.setdefault(name, []).append(value)
    if paged := {"cursor", "limit"} & pairs.keys():
        raise ConfigurationError(f"an export is always complete; leave out {', '.join(sorted(paged))}")
    try:
        return ConversationQuery.model_validate(
            {name: values if len(values) > 1 else values[0] for name, values in pairs.items()}
        ).filters()
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"--filter {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
