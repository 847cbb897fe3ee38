"""``/api/v1/triggers``: the rules that put deliveries in the outbox, to be read, changed, tried, and asked to fire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Header, Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain.definitions import DefinitionError
from dragoman.domain.errors import AlreadyTakenError, ChangeRefusedError, NotFoundError
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.triggers import Trigger, TriggerChannel, TriggerEvent, trigger_to_json
from dragoman.services.automation import manage_triggers
from dragoman.services.automation.fire_triggers import fire_by_request
from dragoman.services.automation.manage_triggers import DryRun, read_trigger
from dragoman.services.automation.plan_firing import PlannedDelivery
from dragoman.services.automation.webhook_keys import add_webhook_key, remove_webhook_key
from dragoman.services.visibility import Visibility
from dragoman.store.automation import firings, triggers, webhook_keys
from dragoman.store.automation.firings import Firing
from dragoman.store.automation.triggers import KeptTrigger
from dragoman.store.catalogue.skill_keys import SealedKey
from dragoman.web.api.conversations import problems_of
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.automation_reads import text_of_delivery, try_for, visible_definition
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.named_paths import RESERVED_NAMES
from dragoman.web.http.problems import InvalidParameterError, InvalidParametersError, ParameterError

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Writer = Annotated[Principal, Depends(require("communications.access:write"))]
Settings = Annotated[Principal, Depends(require("settings.admin"))]
TriggerPath = Annotated[str, Path(max_length=64, pattern="^[a-z][a-z0-9_]*$", description="The trigger's name")]

router = APIRouter(prefix="/api/v1/triggers", tags=["triggers"])

LATEST_FIRINGS = 20
LONGEST_KEY = 200
MOST_FIELDS = 50

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)
_DEFINITION = "As docs/triggers.md describes it, and as the YAML file has it"


class FiringResource(BaseModel):
    """Describes one time that a trigger fired."""

    firing_id: UUID
    at: datetime
    version: int = Field(description="The trigger's version at that time")
    fired_for: str = Field(description="What it fired for; each fires only once")
    session_id: UUID | None
    entries: int = Field(description="How many messages it put in the outbox")
    skipped: int = Field(description="How many of these are not sent; see the outbox for the reasons")
    reason: str = Field(description="Reason")

    @classmethod
    def of(cls, found: Firing, seen: Visibility) -> Self:
        """Show *found* to those who see what *seen* says."""
        return cls(
            firing_id=found.firing_id, at=found.at, version=found.version, fired_for=seen.object_id(found.event_key),
            session_id=found.session_id, entries=found.entries, skipped=found.skipped, reason=found.reason,
        )  # fmt: skip


class ListedTriggerResource(BaseModel):
    """Describes a trigger. Without `audit.unmask` addresses and numbers in its definition are masked."""

    name: str
    label: str
    event: TriggerEvent
    channel: TriggerChannel
    template: str = Field(description="Empty for a webhook")
    version: int = Field(description="Increases with each change of the definition")
    enabled_at: datetime | None = Field(description="When it was turned on; null if it is off")
    changed_at: datetime
    changed_by: str
    last_fired_at: datetime | None
    definition: dict[str, Any] = Field(description=_DEFINITION)

    @classmethod
    def of(cls, kept: KeptTrigger, last_fired_at: datetime | None, seen: Visibility) -> Self:
        """Show *kept* to those who see what *seen* says."""
        return cls(**_fields(kept, last_fired_at, seen))


def _fields(kept: KeptTrigger, last_fired_at: datetime | None, seen: Visibility) -> dict[str, Any]:
    trigger = kept.trigger
    return {
        "name": trigger.name,
        "label": seen.typed(trigger.label),
        "event": trigger.event,
        "channel": trigger.channel,
        "template": trigger.template,
        "version": kept.version,
        "enabled_at": kept.enabled_at,
        "changed_at": kept.changed_at,
        "changed_by": kept.changed_by,
        "last_fired_at": last_fired_at,
        "definition": visible_definition(seen, trigger_to_json(trigger)),
    }


class TriggerListResource(BaseModel):
    """Holds all triggers, by name; there are not so many that they would come in parts."""

    items: list[ListedTriggerResource]


class WebhookKeyResource(BaseModel):
    """Names a key that signs the trigger's webhooks; its secret was shown when it was made."""

    key_id: str
    created_at: datetime


class NewWebhookKeyResource(BaseModel):
    """Holds a key that was made just now. ``key`` is answered this once: the receiver checks signatures with it."""

    key_id: str
    key: str


class TriggerResource(ListedTriggerResource):
    """Describes a trigger with the times that it fired last, the latest first, and the keys of its webhooks."""

    firings: list[FiringResource]
    keys: list[WebhookKeyResource] = Field(description="What signs its webhooks, the oldest first")

    @classmethod
    def of_kept(cls, kept: KeptTrigger, found: Sequence[Firing], keys: Sequence[SealedKey], seen: Visibility) -> Self:
        """Show *kept* and *found* to those who see what *seen* says."""
        fields = _fields(kept, found[0].at if found else None, seen)
        return cls(
            **fields,
            firings=[FiringResource.of(one, seen) for one in found],
            keys=[WebhookKeyResource(key_id=one.key_id, created_at=one.created_at) for one in keys],
        )


class DryRunRequest(BaseModel):
    """Says what a trigger is tried with: a conversation, or what a request would bring."""

    model_config = ConfigDict(extra="forbid")

    session_id: UUID | None = Field(None, description="For triggers that fire for events in a conversation")
    payload: dict[str, Any] = Field(
        default_factory=dict, max_length=MOST_FIELDS, description="Sample values of a request, by name"
    )


class UnsavedDryRunRequest(DryRunRequest):
    """Brings a definition that is tried without being kept."""

    definition: dict[str, Any] = Field(description=_DEFINITION)


class PlannedDeliveryResource(BaseModel):
    """Describes a delivery that would go out. Without `audit.unmask` recipient and numbers are masked."""

    recipient: str = Field(description="An address, a number or a host; empty if nobody can be reached")
    described_as: str = Field(description="Which recipient of the definition this is")
    channel: TriggerChannel
    sender: str = Field(description="The mailbox or number it would be sent from; empty for a webhook")
    status: OutboxStatus = Field(description="SCHEDULED, PENDING or SKIPPED")
    reason: str = Field(description="Why it is skipped, or sent later than the delay")
    due_at: datetime
    subject: str = Field(
        description="Subject of an email, name of a WhatsApp template, or the trigger's label for a webhook"
    )
    text: str
    html: str | None

    @classmethod
    def of(cls, found: PlannedDelivery, channel: TriggerChannel) -> Self:
        """Show *found*, which was masked for its reader."""
        return cls(
            recipient=found.recipient, described_as=found.described_as, channel=channel, sender=found.sender,
            status=found.status, reason=found.reason, due_at=found.due_at, subject=found.subject,
            text=text_of_delivery(found), html=(found.email or {}).get("html"),
        )  # fmt: skip


class DryRunResource(BaseModel):
    """Says what a trigger would do now. Nothing was sent or written down."""

    condition_holds: bool
    facts: dict[str, Any] = Field(description="Facts available to the condition and the template, by name")
    deliveries: list[PlannedDeliveryResource]

    @classmethod
    def of(cls, found: DryRun, trigger: Trigger) -> Self:
        """Show *found*, which was masked for its reader."""
        return cls(
            condition_holds=found.is_true, facts=dict(found.facts),
            deliveries=[PlannedDeliveryResource.of(one, trigger.channel) for one in found.deliveries],
        )  # fmt: skip


class FireRequest(BaseModel):
    """Asks a trigger to fire."""

    model_config = ConfigDict(extra="forbid")

    payload: dict[str, Any] = Field(
        default_factory=dict, max_length=MOST_FIELDS, description="The fields that the trigger declares, by name"
    )
    session_id: UUID | None = Field(None, description="The conversation that it is about, if any")


class FiredResource(BaseModel):
    """Says that a trigger fired, and what it put in the outbox."""

    firing_id: UUID
    at: datetime
    entries: int
    skipped: int
    reason: str = Field(description="Why there is no entry; empty if there is one")


@router.get("", responses=problems_of(401, 403))
async def list_triggers(identity: Reader, runtime: RuntimeDependency) -> TriggerListResource:
    """List the triggers, by name."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await triggers.list_all(connection, identity.tenant_id)
        last = await firings.last_at(connection, identity.tenant_id, [kept.trigger.name for kept in found])
    return TriggerListResource(
        items=[ListedTriggerResource.of(kept, last.get(kept.trigger.name), identity.visibility) for kept in found]
    )


@router.post("/dry-run", responses=_CHANGE)
async def try_unsaved_trigger(
    given: UnsavedDryRunRequest, identity: Settings, runtime: RuntimeDependency
) -> DryRunResource:
    """See what a definition would send, to whom and when. Nothing is kept, sent or written down."""
    trigger = definition_of(given.definition, place="definition")
    return await _try(runtime, identity, trigger, given)


@router.get("/{trigger_name:named}", responses=problems_of(401, 403, 404, 422))
async def read_kept_trigger(trigger_name: TriggerPath, identity: Reader, runtime: RuntimeDependency) -> TriggerResource:
    """Show one trigger with the times that it fired last."""
    return await _resource(runtime, identity, trigger_name)


@router.put("/{trigger_name:named}", responses=_CHANGE)
async def save_trigger_definition(
    trigger_name: TriggerPath,
    given: Annotated[dict[str, Any], Body(description=_DEFINITION)],
    identity: Settings,
    runtime: RuntimeDependency,
) -> TriggerResource:
    """Keep a definition: a new one is off at first, one that is there stays as it is, on or off.

    The name may be left out of the definition. Each fault of it is named, with its path.
    """
    trigger = definition_of({"name": trigger_name, **given})
    if trigger.name != trigger_name:
        raise InvalidParameterError("name", f"the definition is that of {trigger.name}")
    check_name(trigger_name)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        is_new = await triggers.get(connection, identity.tenant_id, trigger_name) is None
    try:
        await manage_triggers.save_trigger(
            runtime, identity.tenant_id, trigger, administrator_of(identity), is_new=is_new
        )
    except (AlreadyTakenError, ChangeRefusedError) as error:
        raise HTTPException(409, str(error)) from error
    return await _resource(runtime, identity, trigger_name)


@router.delete("/{trigger_name:named}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def delete_kept_trigger(trigger_name: TriggerPath, identity: Settings, runtime: RuntimeDependency) -> None:
    """Take a trigger away. What it has sent stays; what it has scheduled is still sent, unless it is cancelled."""
    await manage_triggers.delete_trigger(runtime, identity.tenant_id, trigger_name, administrator_of(identity))


@router.post("/{trigger_name:named}/enable", responses=problems_of(401, 403, 404, 422))
async def enable_trigger(trigger_name: TriggerPath, identity: Settings, runtime: RuntimeDependency) -> TriggerResource:
    """Turn a trigger on: it fires for what happens from now on. Done twice, it changes nothing."""
    await manage_triggers.turn_trigger(runtime, identity.tenant_id, trigger_name, administrator_of(identity), on=True)
    return await _resource(runtime, identity, trigger_name)


@router.post("/{trigger_name:named}/disable", responses=problems_of(401, 403, 404, 422))
async def disable_trigger(trigger_name: TriggerPath, identity: Settings, runtime: RuntimeDependency) -> TriggerResource:
    """Turn a trigger off. Done twice, it changes nothing."""
    await manage_triggers.turn_trigger(runtime, identity.tenant_id, trigger_name, administrator_of(identity), on=False)
    return await _resource(runtime, identity, trigger_name)


@router.post("/{trigger_name:named}/dry-run", responses=_CHANGE)
async def try_kept_trigger(
    trigger_name: TriggerPath,
    identity: Settings,
    runtime: RuntimeDependency,
    given: Annotated[DryRunRequest, Body(default_factory=DryRunRequest)],
) -> DryRunResource:
    """See what a trigger would send, to whom and when, be it on or off. Nothing is sent or written down."""
    kept = await _kept(runtime, identity, trigger_name)
    return await _try(runtime, identity, kept.trigger, given)


@router.post("/{trigger_name:named}/keys", status_code=201, responses=problems_of(401, 403, 404, 409, 422))
async def add_trigger_key(
    trigger_name: TriggerPath, identity: Settings, runtime: RuntimeDependency
) -> NewWebhookKeyResource:
    """Sign the trigger's webhooks with one more key, which is answered this once; two at a time."""
    try:
        key = await add_webhook_key(runtime, identity.tenant_id, trigger_name, administrator_of(identity))
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return NewWebhookKeyResource(key_id=key.key_id, key=key.secret)


@router.delete("/{trigger_name:named}/keys/{key_id}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def remove_trigger_key(
    trigger_name: TriggerPath,
    key_id: Annotated[str, Path(max_length=40, pattern="^[A-Za-z0-9_]+$")],
    identity: Settings,
    runtime: RuntimeDependency,
) -> None:
    """Sign the trigger's webhooks with this key no longer, and forget it."""
    await remove_webhook_key(runtime, identity.tenant_id, trigger_name, key_id, administrator_of(identity))


@router.post("/{trigger_name:named}/fire", status_code=202, responses=_CHANGE)
async def fire_trigger(
    trigger_name: TriggerPath,
    identity: Writer,
    runtime: RuntimeDependency,
    given: Annotated[FireRequest, Body(default_factory=FireRequest)],
    idempotency_key: Annotated[
        str | None,
        Header(
            max_length=LONGEST_KEY,
            min_length=1,
            pattern="^[!-~]+$",
            description="A repeated request with the same key fires nothing; it returns the first result",
        ),
    ] = None,
) -> FiredResource:
    """Have a trigger fire that waits for requests. What it sends stands in the outbox when this is answered.

    Refused with 409 where the trigger is off or waits for something else, with 422 where the payload does not fit.
    """
    kept = await _kept(runtime, identity, trigger_name)
    if kept.enabled_at is None:
        raise HTTPException(409, "The trigger is off.")
    if kept.trigger.event is not TriggerEvent.REQUEST:
        raise HTTPException(409, "This trigger does not wait for requests.")
    try:
        fired = await fire_by_request(
            runtime, identity.tenant_id, trigger_name, given.payload,
            request_id=idempotency_key or str(runtime.source.new_id()), session_id=given.session_id,
        )  # fmt: skip
    except ChangeRefusedError as error:
        raise InvalidParameterError("payload", str(error)) from error
    return FiredResource(
        firing_id=fired.firing_id, at=fired.at, entries=fired.entries, skipped=fired.skipped, reason=fired.reason
    )


def definition_of(given: Mapping[str, Any], *, place: str = "") -> Trigger:
    """Read a definition that stands in the body at *place*. Raises InvalidParametersError with every fault."""
    try:
        return read_trigger(dict(given))
    except DefinitionError as error:
        begin = (place,) if place else ()
        raise InvalidParametersError(
            [
                ParameterError(
                    parameter=".".join(map(str, (*begin, *problem.path)))[:200] or "body", detail=problem.text
                )
                for problem in error.problems
            ]
        ) from error


def check_name(name: str) -> None:
    """Refuse a name that stands for something else. Raises InvalidParameterError."""
    if name in RESERVED_NAMES:
        raise InvalidParameterError("name", f"{name} is taken: choose another name")


async def _kept(runtime: RuntimeDependency, identity: Principal, name: str) -> KeptTrigger:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await triggers.get(connection, identity.tenant_id, name)
    if found is None:
        raise NotFoundError(manage_triggers.NO_TRIGGER)
    return found


async def _resource(runtime: RuntimeDependency, identity: Principal, name: str) -> TriggerResource:
    kept = await _kept(runtime, identity, name)
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await firings.latest(connection, identity.tenant_id, name, limit=LATEST_FIRINGS)
        keys = (await webhook_keys.of_triggers(connection, identity.tenant_id, [name])).get(name, ())
    return TriggerResource.of_kept(kept, found, keys, identity.visibility)


async def _try(
    runtime: RuntimeDependency, identity: Principal, trigger: Trigger, given: DryRunRequest
) -> DryRunResource:
    try:
        found = await try_for(runtime, identity, trigger, session_id=given.session_id, payload=given.payload)
    except ChangeRefusedError as error:
        place = "payload" if trigger.event is TriggerEvent.REQUEST else "session_id"
        raise InvalidParameterError(place, str(error)) from error
    return DryRunResource.of(found, trigger)
