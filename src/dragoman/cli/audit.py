"""``audit verify``: is the record whole?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, err, tenant_id_of, with_runtime
from dragoman.domain.errors import ConfigurationError
from dragoman.runtime import Runtime
from dragoman.services.verify_audit import Verdict, verify_audit
from dragoman.services.verify_bundle import verify_bundle
from dragoman.store import tenants

audit = typer.Typer(help="Check the record.", no_args_is_help=True)


@audit.callback()
def _group() -> None:
    """Check the record."""


@audit.command("verify")
def verify(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    session: Annotated[str | None, typer.Option(help="Only this session; needs --tenant.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="An evidence bundle instead; needs no database.", exists=True, dir_okay=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find any changed, missing, reordered or inserted audit event; exit code 1 if there is one."""
    if bundle is not None:
        if tenant is not None or session is not None:
            raise ConfigurationError("--bundle goes without --tenant and --session")
        _verify_bundle(bundle, as_json=as_json)
        return
    if session is not None and tenant is None:
        raise ConfigurationError("--session needs --tenant")
    wanted = _uuid(session)

    async def job(runtime: Runtime) -> list[Verdict]:
        if tenant is not None:
            ids = [await tenant_id_of(runtime, tenant)]
        else:
            async with runtime.database.directory() as connection:
                ids = await tenants.every_id(connection)
        with err.status("Verifying") as status:
            return [
                await verify_audit(runtime, tenant_id, wanted, lambda n: status.update(f"Verifying: {n} sessions"))
                for tenant_id in ids
            ]

    verdicts = with_runtime(job)
    breaches = [breach for verdict in verdicts for breach in verdict.breaches]
    sessions = sum(verdict.sessions for verdict in verdicts)
    events = sum(verdict.events for verdict in verdicts)
    if as_json:
        found = [{"session_id": str(b.session_id), "position": b.position, "kind": b.kind} for b in breaches]
        sys.stdout.write(json.dumps({"sessions": sessions, "events": events, "breaches": found}, indent=1) + "\n")
    else:
        for breach in breaches:
            err.print(f"session {breach.session_id}, position {breach.position}: {breach.kind}", style="red")
        err.print(f"{events} events of {sessions} sessions checked, {len(breaches)} breaches")
    if breaches:
        raise typer.Exit(1)


def _verify_bundle(path: Path, *, as_json: bool) -> None:
    with err.status("Verifying") as status:
        verdict = verify_bundle(path, lambda n: status.update(f"Verifying: {n} sessions"))
    if as_json:
        sys.stdout.write(json.dumps(asdict(verdict), indent=1) + "\n")
    else:
        for finding in verdict.findings:
            err.print(f"{finding.where}: {finding.what}", style="red", markup=False)
        err.print(
            f"{verdict.files} files, {verdict.events} events and {verdict.messages} messages of {verdict.sessions} "
            f"sessions checked, {len(verdict.findings)} findings"
        )
        if verdict.masked:
            err.print("Phone numbers are masked: the checksums were checked, the chains of seals cannot be.")
        err.print(f"SHA-256 of the manifest: {verdict.manifest_sha256}")
    if verdict.findings:
        raise typer.Exit(1)


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError as error:
        raise ConfigurationError(f"{text} is not a session id") from error
