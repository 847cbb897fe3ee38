"""The JSON API for legal holds: which sessions are kept from retention, and why."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain.errors import AlreadyTakenError
from dragoman.services.retention import legal_holds
from dragoman.services.retention.apply_retention import RetentionBusyError
from dragoman.store import legal_holds as store
from dragoman.web.api.conversations import Administrator, problems_of
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError

Reader = Annotated[Principal, Depends(require("communications.access:read"))]

router = APIRouter(prefix="/api/v1", tags=["holds"])


class HoldResource(BaseModel):
    """Describes a hold in force."""

    session_id: UUID
    reason: str
    by: str
    at: datetime


class HoldList(BaseModel):
    """The tenant's holds, the latest first."""

    items: list[HoldResource]


class NewHold(BaseModel):
    """Asks for a hold."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=legal_holds.LONGEST_REASON)


@router.get("/holds", responses=problems_of(401, 403))
async def list_holds(identity: Reader, runtime: RuntimeDependency) -> HoldList:
    """All holds in force."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = [identity.visibility.hold(h) for h in await store.of(connection, identity.tenant_id)]
    return HoldList(
        items=[HoldResource(session_id=h.session_id, reason=h.reason, by=h.by_whom, at=h.at) for h in found]
    )


@router.put("/conversations/{session_id}/hold", status_code=204, responses=problems_of(400, 401, 403, 404, 409, 422))
async def put_hold(session_id: UUID, hold: NewHold, identity: Administrator, runtime: RuntimeDependency) -> None:
    """Keep the conversation from retention; refused with 409 where it is held, or while retention removes something."""
    try:
        await legal_holds.place_hold(runtime, identity.tenant_id, session_id, hold.reason, administrator_of(identity))
    except ValueError as error:
        raise InvalidParameterError("reason", str(error)) from error
    except (AlreadyTakenError, RetentionBusyError) as error:
        raise HTTPException(409, str(error)) from error


@router.delete("/conversations/{session_id}/hold", status_code=204, responses=problems_of(401, 403, 404, 409, 422))
async def lift_hold(session_id: UUID, identity: Administrator, runtime: RuntimeDependency) -> None:
    """Keep it no longer; refused with 409 while retention removes something."""
    try:
        await legal_holds.lift_hold(runtime, identity.tenant_id, session_id, administrator_of(identity))
    except RetentionBusyError as error:
        raise HTTPException(409, str(error)) from error
