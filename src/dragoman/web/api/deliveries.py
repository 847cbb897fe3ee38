"""``/api/v1/deliveries``: what channels delivered, and what became of each item, for administrators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, BeforeValidator, Field

from dragoman.domain.errors import NotFoundError
from dragoman.domain.text_values import first_moment, last_moment
from dragoman.services.audit.raw_delivery import read_body
from dragoman.services.visibility import UNMASK
from dragoman.store.conversation_list.conversations import MalformedCursorError
from dragoman.store.receiving import delivery_list
from dragoman.store.receiving.delivery_list import ITEMS_SHOWN, DeliveredItem, DeliveryFilters, Fate, ListedDelivery
from dragoman.web import audited_reads
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import PageQuery, Words, from_text, given_once
from dragoman.web.auth import MissingPermissionError, Principal, require
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.problems import InvalidParameterError

Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]

router = APIRouter(prefix="/api/v1/deliveries", tags=["deliveries"])


class DeliveryQuery(PageQuery):
    """Narrows the list of deliveries. All that are given must fit."""

    message: Words | None = Field(
        None, description="The channel's id of a message, such as `wamid.…`; its statuses too"
    )
    fate: Fate | None = Field(
        None, description="How an item was processed; `held` and `unmatched` are delivery statuses"
    )
    from_: Annotated[datetime, BeforeValidator(from_text(first_moment))] | None = Field(
        None, alias="from", description="Delivered at or after this RFC 3339 time or day (UTC)"
    )
    to: Annotated[datetime, BeforeValidator(from_text(last_moment))] | None = Field(
        None, description="Delivered before this RFC 3339 time, or up to the end of this day (UTC)"
    )

    def filters(self) -> DeliveryFilters:
        """Give the same to the store."""
        return DeliveryFilters(message=self.message, fate=self.fate, since=self.from_, until=self.to)


class DeliveredItemResource(BaseModel):
    """Describes an item of a delivery, and what became of it."""

    place: int = Field(description="Position in the delivery, from 0")
    fate: str = Field(description="message, status, held, unmatched, duplicate or kept")
    id: str | None = Field(description="The channel's id of the message")
    status: str | None = Field(description="Delivery status of an outgoing message, as the channel reports it")
    reason: str = Field(description="Reason, or how a status was handled; may be empty")
    difference: Any = Field(description="How a duplicate differs from the first one")
    session_id: UUID | None = Field(description="Where the message is, once it has a session")
    message_id: UUID | None

    @classmethod
    def of(cls, item: DeliveredItem) -> Self:
        """Show *item*."""
        return cls(
            place=item.place, fate=item.fate, id=item.id, status=item.status, reason=item.reason,
            difference=item.difference, session_id=item.session_id, message_id=item.message_id,
        )  # fmt: skip


class ListedDeliveryResource(BaseModel):
    """Describes one delivery of a channel's."""

    delivery_id: UUID
    at: datetime
    channel: str
    channel_account_id: UUID | None = Field(description="Null if it was not for any known account")
    size_bytes: int
    item_count: int
    items: list[DeliveredItemResource] = Field(
        description=f"In lists the first {ITEMS_SHOWN}, or those that match the message filter"
    )

    @classmethod
    def of(cls, found: ListedDelivery, item_count: int) -> Self:
        """Show *found*."""
        return cls(
            delivery_id=found.delivery_id, at=found.at, channel=found.channel,
            channel_account_id=found.channel_account_id, size_bytes=found.size_bytes, item_count=item_count,
            items=[DeliveredItemResource.of(item) for item in found.items],
        )  # fmt: skip


class DeliveryPageResource(BaseModel):
    """Holds a part of the list, newest first."""

    items: list[ListedDeliveryResource]
    next_cursor: str | None


class DeliveryBody(BaseModel):
    """Holds what was delivered, as it is kept."""

    body: Any = Field(
        description="JSON as received, or the text of an email; redacted, and without anything that was erased"
    )


@router.get("", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422, 503))
async def list_deliveries(
    identity: Administrator, runtime: RuntimeDependency, query: Annotated[DeliveryQuery, Query()]
) -> DeliveryPageResource:
    """List what channels delivered, newest first, with what became of each item."""
    asked = query.model_dump(mode="json", exclude_none=True, exclude={"cursor", "limit"}, by_alias=True)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        try:
            page = await delivery_list.page(
                connection, identity.tenant_id, query.filters(), cursor=query.cursor, limit=query.limit,
                cutoff=retention_cutoff(runtime, identity.retention_days),
            )  # fmt: skip
        except MalformedCursorError as error:
            raise InvalidParameterError("cursor", str(error)) from error
        await audited_reads.deliveries_listed(runtime, connection, identity, asked)
    items = [ListedDeliveryResource.of(identity.visibility.delivered(one), len(one.reports)) for one in page.items]
    return DeliveryPageResource(items=items, next_cursor=page.next_cursor)


@router.get("/{delivery_id}", responses=problems_of(401, 403, 404, 422))
async def show_delivery(
    delivery_id: UUID, identity: Administrator, runtime: RuntimeDependency
) -> ListedDeliveryResource:
    """Show one delivery with all its items."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        cutoff = retention_cutoff(runtime, identity.retention_days)
        found = await delivery_list.get(connection, identity.tenant_id, delivery_id, cutoff=cutoff)
        if found is None:
            raise NotFoundError(f"There is no delivery {delivery_id}.")
        await audited_reads.delivery_opened(runtime, connection, identity, delivery_id, with_body=False)
    return ListedDeliveryResource.of(identity.visibility.delivered(found), len(found.reports))


@router.get("/{delivery_id}/body", responses=problems_of(401, 403, 404, 422))
async def show_delivery_body(delivery_id: UUID, identity: Administrator, runtime: RuntimeDependency) -> DeliveryBody:
    """Show what was delivered. It is of whoever wrote, so that it needs `audit.unmask`."""
    if not identity.visibility.unmasked:
        raise MissingPermissionError(UNMASK)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        cutoff = retention_cutoff(runtime, identity.retention_days)
        found = await delivery_list.get(connection, identity.tenant_id, delivery_id, cutoff=cutoff)
        if found is None:
            raise NotFoundError(f"There is no delivery {delivery_id}.")
        await audited_reads.delivery_opened(runtime, connection, identity, delivery_id, with_body=True)
        return DeliveryBody(body=await read_body(connection, identity.tenant_id, found))
