"""Lists single dispatches of skills, newest first: what the numbers of the insights and of the registry lead to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response

from dragoman.domain.skill_calls import SkillCalls
from dragoman.domain.text_values import without_nul
from dragoman.domain.usage import InvocationResult
from dragoman.runtime import Runtime
from dragoman.store.catalogue import skills
from dragoman.store.conversation_list.conversations import Filters, MalformedCursorError
from dragoman.store.database import Connection
from dragoman.store.insights import usage
from dragoman.store.insights.usage import InvocationFilters, InvocationPage
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.auth import Principal, require
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.page import render, said
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

INSIGHTS = "/communications/insights/skills"
ADDRESS = f"{INSIGHTS}/calls"
PAGE_SIZE = 50

Reader = Annotated[Principal, Depends(require("communications.access:read"))]

RESULTS: Mapping[str, tuple[str, str]] = {
    InvocationResult.SUCCEEDED: (deferred("Succeeded"), "green"),
    InvocationResult.FAILED: (deferred("Failed"), "red"),
    InvocationResult.LOST: (deferred("Lost"), "pink"),
    InvocationResult.RUNNING: (deferred("Running"), "blue"),
}
"""What each result of a dispatch is called, and its colour."""


@dataclass(frozen=True, slots=True)
class _CallQuery(RecordQuery):
    NAMES: ClassVar[tuple[str, ...]] = ("skill", "result", "from", "to")
    TAB: ClassVar[str] = "result"
    PAGE: ClassVar[str] = ADDRESS

    def filters(self) -> InvocationFilters:
        """The same for the store. Raises ValueError with what to do."""
        result = self.choice("result", deferred("Result"), RESULTS)
        since, until = self.bounds()
        return InvocationFilters(
            skill=without_nul(self["skill"]) or None,
            result=InvocationResult(result) if result else None,
            since=since,
            until=until,
        )


@router.get(ADDRESS)
async def listed(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show single dispatches of skills, newest first."""
    query, mistake, found = _CallQuery.read(request), "", InvocationPage([], None)
    cursor = request.query_params.get("cursor") or None
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            filters = query.filters()
            cutoff = retention_cutoff(runtime, identity.retention_days)
            kept = dataclasses.replace(filters, since=max(filters.since or cutoff, cutoff))
            found = await usage.invocations(connection, identity.tenant_id, kept, cursor=cursor, limit=PAGE_SIZE)
            await _on_record(runtime, connection, identity, filters)
        except MalformedCursorError:
            mistake = _("This page of the list no longer exists. Start again from the newest.")
        except ValueError as error:
            mistake = said(error)
        known = await skills.labels(connection, identity.tenant_id)
        items = await _shown(connection, identity, found)
    return render(
        request,
        "insights/calls.html",
        status_code=422 if mistake else 200,
        address=ADDRESS,
        insights=INSIGHTS,
        query=query,
        results=RESULTS,
        results_to_choose={"": _("All"), **{key: label for key, (label, _hue) in RESULTS.items()}},
        mistake=mistake,
        rows=items,
        labels={name: name if retired else label for name, (label, retired) in known.items()},
        next_cursor=found.next_cursor,
        cursor=cursor,
    )


async def _on_record(runtime: Runtime, connection: Connection, identity: Principal, filters: InvocationFilters) -> None:
    """The list names whose conversations they are, so it counts as looking through these."""
    asked = SkillCalls(skill=filters.skill or None, result=filters.result, since=filters.since, until=filters.until)
    await audited_reads.listed(runtime, connection, identity, Filters(ran=asked))


async def _shown(
    connection: Connection, identity: Principal, found: InvocationPage
) -> Sequence[usage.ListedInvocation]:
    masks = await identity.visibility.masks(connection, identity.tenant_id, [one.contact_id for one in found.items])
    return [identity.visibility.invocation(one, masks) for one in found.items]
