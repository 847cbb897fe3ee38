"""``audit`` checks the chains of audit events and the checkpoints that cover them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from dragoman.cli.shared import JsonOption, err, settings_or_exit, show, tenant_id_of, with_runtime
from dragoman.domain import plurals
from dragoman.domain.errors import ConfigurationError, DragomanError
from dragoman.ledger.checkpoint import public_bytes
from dragoman.ledger.verify import Trusted
from dragoman.runtime import Runtime
from dragoman.services.audit import checkpoint_key, checkpoints
from dragoman.services.audit.verify_audit import AuditVerdict, verify_audit
from dragoman.services.audit.verify_bundle import verify_bundle
from dragoman.store import tenants
from dragoman.store.blobs import BlobsUnavailableError

audit = typer.Typer(help="Verify the audit log and sign checkpoints of it.", no_args_is_help=True)


@audit.callback()
def _group() -> None:
    """Verify the audit log and sign checkpoints of it."""


KeyOption = Annotated[
    list[str],
    typer.Option(
        "--public-key",
        help="A public key (hex) to trust instead of this installation's; can be repeated.",
    ),
]


@audit.command("verify")
def verify(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    session: Annotated[str | None, typer.Option(help="Only this session; needs --tenant.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Verify this evidence bundle instead; needs no database.", exists=True, dir_okay=False),
    ] = None,
    public_key: KeyOption = [],  # noqa: B006 - Typer reads it
    as_json: JsonOption = False,
) -> None:
    """Check the chains of audit events, the checkpoints and the messages' digests; exit code 1 for any breach.

    Checkpoints are those in the database and those outside it. Of a message its content is compared with the digest
    that was sealed, not its sender and time; a session's row is not compared.
    """
    trusted = {_key(text) for text in public_key} or None
    if bundle is not None:
        if tenant is not None or session is not None:
            raise ConfigurationError("--bundle cannot be combined with --tenant or --session")
        _verify_bundle(bundle, trusted, as_json=as_json)
        return
    if session is not None and tenant is None:
        raise ConfigurationError("--session needs --tenant")
    wanted = _uuid(session)

    async def job(runtime: Runtime) -> list[AuditVerdict]:
        ids = await _tenants(runtime, tenant)
        with err.status("Verifying") as status:

            def say(sessions: int) -> None:
                status.update(f"Verifying: {plurals.counted(sessions, 'session', 'sessions')}")

            return [await verify_audit(runtime, tenant_id, wanted, say, trusted=trusted) for tenant_id in ids]

    verdicts = with_runtime(job)
    _print_verdicts(verdicts, as_json=as_json, trusted=trusted)
    if any(verdict.breaches or verdict.trouble for verdict in verdicts):
        raise typer.Exit(1)


def _print_verdicts(verdicts: Sequence[AuditVerdict], *, as_json: bool, trusted: Trusted) -> None:
    breaches = [breach for verdict in verdicts for breach in verdict.breaches]
    counted = {
        name: sum(getattr(verdict, name) for verdict in verdicts)
        for name in ("sessions", "events", "messages", "truncated", "checkpoints")
    }
    trouble = [verdict.trouble for verdict in verdicts if verdict.trouble]
    if as_json:
        found = [
            {
                "session_id": None if b.session_id is None else str(b.session_id),
                "position": b.position,
                "checkpoint": b.checkpoint,
                "kind": b.kind,
            }
            for b in breaches
        ]
        sys.stdout.write(json.dumps({**counted, "breaches": found, "trouble": trouble}, indent=1) + "\n")
    else:
        for breach in breaches:
            err.print(f"{breach.where}: {breach.kind}", style="red", markup=False)
        for text in trouble:
            err.print(text, style="red", markup=False)
        if trusted is None and counted["checkpoints"] and checkpoint_key.public_key(settings_or_exit()) is None:
            err.print("No public key is known here, so each checkpoint was checked with the key that it contains.")
        shortened = f" ({counted['truncated']} shortened by retention)" if counted["truncated"] else ""
        err.print(
            f"{plurals.counted(counted['events'], 'audit event', 'audit events')} of "
            f"{plurals.counted(counted['sessions'], 'session', 'sessions')}{shortened} and "
            f"{plurals.counted(counted['checkpoints'], 'checkpoint', 'checkpoints')} checked, "
            f"{plurals.counted(counted['messages'], 'message', 'messages')} compared with the digests "
            f"that were sealed, {plurals.counted(len(breaches), 'breach', 'breaches')}"
        )


@audit.command("checkpoint")
def make_checkpoint(
    *,
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    every_session: Annotated[
        bool, typer.Option("--all", help="Look at every session, for example after a restore.")
    ] = False,
    new_key: Annotated[
        bool, typer.Option("--new-key", help="Continue although the previous checkpoint was signed with another key.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint now, if anything has changed, and write it outside the database."""

    async def job(runtime: Runtime) -> list[dict[str, object]]:
        return [
            {
                "tenant_id": str(tenant_id),
                "number": one.number,
                "at": one.at.isoformat(timespec="seconds"),
                "sessions": one.leaves,
                "digest": one.digest.hex(),
            }
            for tenant_id in await _tenants(runtime, tenant)
            for one in await checkpoints.make(runtime, tenant_id, other_key=new_key, consider_all=every_session)
        ]

    try:
        made = with_runtime(job)
    except BlobsUnavailableError as error:
        raise DragomanError(
            f"the checkpoint could not be written outside the database; the next run will retry: {error}"
        ) from error
    show(made, as_json=as_json, empty="Nothing has changed since the latest checkpoint.")


@audit.command("key")
def key(*, as_json: JsonOption = False) -> None:
    """Print the public key that verifies checkpoints; it is created on first use."""
    public = public_bytes(checkpoint_key.signing_key(settings_or_exit()))
    pem = checkpoint_key.pem(public)
    document = json.dumps({"public_key": public.hex(), "pem": pem}, indent=1)
    sys.stdout.write(f"{document}\n" if as_json else f"{public.hex()}\n")


async def _tenants(runtime: Runtime, slug: str | None) -> list[UUID]:
    if slug is not None:
        return [await tenant_id_of(runtime, slug)]
    async with runtime.database.directory() as connection:
        return await tenants.list_ids(connection)


def _key(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise ConfigurationError(f"{text} is not a public key; `dragoman audit key` prints one, 64 hexadecimal digits")
    return found


def _verify_bundle(path: Path, trusted: Trusted, *, as_json: bool) -> None:
    with err.status("Verifying") as status:
        verdict = verify_bundle(
            path, lambda n: status.update(f"Verifying: {plurals.counted(n, 'session', 'sessions')}"), trusted=trusted
        )
    if as_json:
        sys.stdout.write(json.dumps(asdict(verdict), indent=1) + "\n")
    else:
        for finding in verdict.findings:
            err.print(f"{finding.where}: {finding.what}", style="red", markup=False)
        err.print(
            f"{plurals.counted(verdict.files, 'file', 'files')} and "
            f"{plurals.counted(verdict.events, 'audit event', 'audit events')} of "
            f"{plurals.counted(verdict.sessions, 'session', 'sessions')} checked, "
            f"{verdict.compared:,} of {plurals.counted(verdict.messages, 'message', 'messages')} compared "
            f"with the digests that were sealed, {plurals.counted(len(verdict.findings), 'finding', 'findings')}"
        )
        if verdict.keys:
            err.print(
                f"{verdict.sealed:,} of {plurals.counted(verdict.sessions, 'session', 'sessions')} "
                f"{plurals.noun(verdict.sealed, 'is covered to its', 'are covered to their')} last event by "
                f"checkpoints that "
                f"were signed with {', '.join(verdict.keys)}"
            )
            if trusted is None:
                err.print(
                    "Compare that key with the installation's (`dragoman audit key`), or pass it with --public-key."
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
