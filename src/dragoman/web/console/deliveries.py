"""Settings: what channels delivered, newest first, and what became of each item, for administrators."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import NotFoundError
from dragoman.domain.text_values import without_nul
from dragoman.services.audit.raw_delivery import delivery_of, read_body
from dragoman.store.conversation_list.conversations import MalformedCursorError, TooSlowError
from dragoman.store.receiving import delivery_list
from dragoman.store.receiving.delivery_list import DeliveryFilters, DeliveryPage, Fate
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web import audited_reads
from dragoman.web.auth import Principal, require
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.page import off_the_loop, render, said
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/deliveries"
PERMISSION = "communications.access:admin"
PAGE_SIZE = 50
LONGEST_BODY = 200_000
"""How many characters of a body the page shows."""

Administrator = Annotated[Principal, Depends(require(PERMISSION))]

FATES: dict[str, tuple[str, str]] = {
    Fate.MESSAGE: (deferred("Message"), "green"),
    Fate.STATUS: (deferred("Status"), "blue"),
    Fate.HELD: (deferred("Status waiting"), "amber"),
    Fate.UNMATCHED: (deferred("Status without message"), "gray"),
    Fate.DUPLICATE: (deferred("Duplicate"), "gray"),
    Fate.KEPT: (deferred("Kept"), "amber"),
}
"""What each fate is called, and its colour; one that is not here is shown by its own word."""


@dataclass(frozen=True, slots=True)
class _DeliveryQuery(RecordQuery):
    NAMES: ClassVar[tuple[str, ...]] = ("message", "fate", "from", "to")
    TAB: ClassVar[str] = "fate"
    PAGE: ClassVar[str] = ADDRESS

    def filters(self) -> DeliveryFilters:
        """The same for the store. Raises ValueError with what to do."""
        fate = self.choice("fate", _("Result"), FATES)
        since, until = self.bounds()
        return DeliveryFilters(
            message=without_nul(self["message"]) or None,
            fate=Fate(fate) if fate else None,
            since=since,
            until=until,
        )


@router.get(ADDRESS)
async def listed(request: Request, runtime: RuntimeDependency, identity: Administrator) -> Response:
    """Show the list."""
    query, mistake, page = _DeliveryQuery.read(request), "", DeliveryPage([], None)
    cursor = request.query_params.get("cursor") or None
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            page = await delivery_list.page(
                connection, identity.tenant_id, query.filters(), cursor=cursor, limit=PAGE_SIZE,
                cutoff=retention_cutoff(runtime, identity.retention_days),
            )  # fmt: skip
            await audited_reads.deliveries_listed(runtime, connection, identity, query.asked())
        except MalformedCursorError:
            mistake = _("This page of the list no longer exists. Start again from the newest.")
        except TooSlowError:
            mistake = _("The search took too long. Narrow it down, for example by date.")
        except ValueError as error:
            mistake = said(error)
    return render(
        request,
        "settings/deliveries.html",
        status_code=422 if mistake else 200,
        address=ADDRESS,
        query=query,
        fates=FATES,
        fates_to_choose={"": _("All"), **{key: label for key, (label, __) in FATES.items()}},
        mistake=mistake,
        rows=[(identity.visibility.delivered(one), len(one.reports)) for one in page.items],
        next_cursor=page.next_cursor,
        cursor=cursor,
    )


@router.get(f"{ADDRESS}/of/{{session_id}}/{{message_id}}")
async def of_message(
    runtime: RuntimeDependency, identity: Administrator, session_id: UUID, message_id: UUID
) -> Response:
    """Lead from a message in the transcript to the delivery that it came with."""
    cutoff = retention_cutoff(runtime, identity.retention_days)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await delivery_of(connection, identity.tenant_id, session_id, message_id, cutoff=cutoff)
    if found is None:
        raise NotFoundError(_("The delivery of this message is not stored."))
    delivery_id, place = found
    return RedirectResponse(f"{ADDRESS}/{delivery_id}#item-{place}", 303)


@router.get(f"{ADDRESS}/{{delivery_id}}")
async def shown(request: Request, runtime: RuntimeDependency, identity: Administrator, delivery_id: UUID) -> Response:
    """Show one delivery with all its items; with ``body=1`` what was delivered, too."""
    with_body = request.query_params.get("body") == "1"
    if with_body and not identity.visibility.unmasked:
        raise HTTPException(403, _("You don’t have access. Ask an administrator for “See phone numbers”."))
    body: Any = None
    async with runtime.database.tenant(identity.tenant_id) as connection:
        cutoff = retention_cutoff(runtime, identity.retention_days)
        found = await delivery_list.get(connection, identity.tenant_id, delivery_id, cutoff=cutoff)
        if found is None:
            raise NotFoundError(_("This delivery does not exist or has been deleted."))
        await audited_reads.delivery_opened(runtime, connection, identity, delivery_id, with_body=with_body)
        if with_body:
            body = await read_body(connection, identity.tenant_id, found)
    text = await off_the_loop(lambda: _written(body)) if with_body else None
    return render(
        request,
        "settings/delivery.html",
        address=ADDRESS,
        delivery=identity.visibility.delivered(found),
        fates=FATES,
        body=None if text is None else text[:LONGEST_BODY],
        cut=text is not None and len(text) > LONGEST_BODY,
    )


def _written(body: Any) -> str:
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, indent=2)
