"""Runs ``insights rebuild``, which counts usage anew."""

from __future__ import annotations

import json
import sys

import typer

from dragoman.cli.shared import JsonOption, TenantOption, err, tenant_id_of, with_runtime
from dragoman.domain.plurals import counted
from dragoman.runtime import Runtime
from dragoman.services.insights.count_usage import rebuild_usage
from dragoman.services.insights.group_questions import group_questions

group = typer.Typer(help="Maintain the figures of Skill Usage Insights.", no_args_is_help=True)


@group.callback()
def insights() -> None:
    """Keep the command's name although there is one command only."""


@group.command("rebuild")
def rebuild(tenant_slug: TenantOption, *, as_json: JsonOption = False) -> None:
    """Count all figures again from the audit log. Until it is done, pages show figures that are too low."""

    async def job(runtime: Runtime) -> int:
        tenant_id = await tenant_id_of(runtime, tenant_slug)
        sessions = await rebuild_usage(runtime, tenant_id)
        await group_questions(runtime, tenant_id)
        return sessions

    with err.status("Counting"):
        sessions = with_runtime(job)
    if as_json:
        sys.stdout.write(json.dumps({"sessions": sessions}) + "\n")
    else:
        err.print(f"{counted(sessions, 'conversation', 'conversations')} counted.")
