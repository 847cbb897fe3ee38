"""Shows the triggers of a tenant under Settings: written as a form or as YAML, tried, turned on and off, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException

from dragoman.domain import message_template
from dragoman.domain.definitions import DefinitionError
from dragoman.domain.errors import AlreadyTakenError, ChangeRefusedError, NotFoundError
from dragoman.domain.flows import VariableType
from dragoman.domain.outcomes import Outcome
from dragoman.domain.triggers import FACTS, OF_SESSIONS, Trigger, TriggerChannel, TriggerEvent, trigger_to_json
from dragoman.rendering.templates import EmailTemplate
from dragoman.runtime import Runtime
from dragoman.services.automation import manage_triggers
from dragoman.services.automation.manage_triggers import DryRun, read_trigger
from dragoman.services.automation.trigger_yaml import read_trigger_yaml, trigger_to_yaml
from dragoman.services.automation.webhook_keys import add_webhook_key, remove_webhook_key
from dragoman.services.catalogue.import_definitions import FaultyFileError, FileFault
from dragoman.skills.signing import SigningKey
from dragoman.store.automation import firings, mail_templates, triggers, webhook_keys
from dragoman.store.automation.firings import Firing
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.automation.triggers import KeptTrigger
from dragoman.store.catalogue.skill_keys import MOST, SealedKey
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.conversation_list.conversations import TooSlowError
from dragoman.store.handoff import templates as channel_templates
from dragoman.store.handoff.templates import KeptTemplate
from dragoman.store.sending.outbox import MAIL
from dragoman.translations import deferred
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.automation_reads import latest_fitting, text_of_delivery, try_for
from dragoman.web.console import trigger_words
from dragoman.web.console.canned_replies import status_words
from dragoman.web.console.page import render, said
from dragoman.web.console.query import ADDRESS as LOGS
from dragoman.web.console.trigger_fields import (
    LONGEST_FIELD,
    LONGEST_YAML,
    OPERATORS,
    PAYLOAD_TYPES,
    TriggerFields,
    definition_of_fields,
    faults_by_field,
    fields_of,
    keep_order,
    read_fields,
)
from dragoman.web.console.wording import ENTRY_STATUSES
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.named_paths import RESERVED_NAMES

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/triggers"
OUTBOX = f"{LOGS}?tab=email&trigger="
NEW = "new"
LATEST_FIRINGS = 10

Settings = Annotated[Principal, Depends(require("settings.admin"))]

_DONE = {
    "added": deferred("Trigger saved. It is off: test it, then turn it on."),
    "saved": deferred("Changes saved."),
    "on": deferred("Trigger turned on. It runs for events from now on."),
    "off": deferred("Trigger turned off. Scheduled messages are still sent unless you cancel them in the outbox."),
    "deleted": deferred("Trigger deleted. Its messages stay in the outbox."),
    "key_removed": deferred("Key removed. Webhooks are no longer signed with it."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerTrial:
    """What somebody tries a trigger with, and what came of it."""

    session: str = ""
    values: Mapping[str, str] | None = None
    tried: DryRun | None = None
    used_session: UUID | None = None
    mistake: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerPage:
    """What the page of one trigger shows; ``yaml`` is what somebody wrote there, None for the trigger as it is.

    ``key`` was made just now, and is shown this once.
    """

    fields: TriggerFields
    faults: Mapping[str, str]
    mistake: str = ""
    yaml: str | None = None
    yaml_faults: tuple[FileFault, ...] = ()
    trial: TriggerTrial = TriggerTrial()
    key: SigningKey | None = None


@dataclass(frozen=True, slots=True)
class _Choices:
    """What the form offers: templates, and what can be sent from."""

    templates: list[TemplateVersion]
    channel_templates: list[KeptTemplate]
    accounts: list[ChannelAccount]

    def variables(self, fields: TriggerFields) -> list[tuple[str, str]]:
        """What the chosen template wants, each with what it is; and what is given that it does not want."""
        found: dict[str, str] = {}
        if fields.channel == TriggerChannel.WEBHOOK:
            return [(name, _("sent under this name")) for name, choice in fields.values.items() if choice.source]
        if fields.channel == TriggerChannel.WHATSAPP:
            for kept in self.channel_templates:
                if f"{kept.template.name}|{kept.template.language}" == fields.whatsapp_template:
                    for one in message_template.fields_of(kept.template):
                        found[one.key] = _place_in_words(one)
        else:
            for version in self.templates:
                if version.name == fields.email_template:
                    for variable in EmailTemplate.from_json(version.source).variables:
                        found[variable.name] = variable.description or variable.kind
        stale = [name for name, choice in fields.values.items() if name not in found and choice.source]
        return [*found.items(), *((name, _("not in this template")) for name in stale)]

    @property
    def mailboxes(self) -> list[ChannelAccount]:
        """What mails can be sent from."""
        return [one for one in self.accounts if one.channel == MAIL]

    @property
    def numbers(self) -> list[ChannelAccount]:
        """What WhatsApp templates can be sent from."""
        return [one for one in self.accounts if one.channel == "whatsapp"]


def _place_in_words(one: message_template.TemplateField) -> str:
    match one.place:
        case "header":
            return _("%(variable)s in the header", variable=one.label)
        case "body":
            return _("%(variable)s in the text", variable=one.label)
        case _:
            return _("%(variable)s of the button", variable=one.label)


@router.get(ADDRESS)
async def list_triggers(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show all triggers, in words."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await triggers.list_all(connection, identity.tenant_id)
        last = await firings.last_at(connection, identity.tenant_id, [kept.trigger.name for kept in found])
        labels = {one.name: one.label for one in await mail_templates.list_all(connection, identity.tenant_id)}
    return render(
        request,
        "settings/triggers.html",
        found=found,
        last=last,
        labels=labels,
        words=trigger_words,
        seen=identity.visibility,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        address=ADDRESS,
        outbox=OUTBOX,
    )


@router.get(f"{ADDRESS}/{NEW}")
async def new(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show an empty form."""
    return await _show(request, runtime, identity, None, TriggerPage(fields=TriggerFields(), faults={}))


@router.get(f"{ADDRESS}/{{trigger_name}}")
async def edit(request: Request, runtime: RuntimeDependency, identity: Settings, trigger_name: str) -> Response:
    """Show one trigger."""
    kept = await _kept(runtime, identity, trigger_name)
    return await _show(request, runtime, identity, kept, TriggerPage(fields=fields_of(kept.trigger), faults={}))


@router.post(f"{ADDRESS}/{{trigger_name}}")
async def change(request: Request, runtime: RuntimeDependency, identity: Settings, trigger_name: str) -> Response:
    """Do what was asked for with the form: save it, try it, or show it with more rows."""
    kept = None if trigger_name == NEW else await _kept(runtime, identity, trigger_name)
    form = await request.form(max_files=0)
    fields = read_fields(form)
    if kept is not None:
        fields = replace(fields, name=kept.trigger.name)
    page = TriggerPage(fields=fields, faults={}, trial=_asked(form, fields))
    act = form.get("act", "save")
    if act == "rows":
        return await _show(request, runtime, identity, kept, page)
    trigger, faults = _read(fields, kept)
    if trigger is None or faults:
        return await _show(request, runtime, identity, kept, replace(page, faults=faults), status_code=422)
    if act == "try":
        trial = await _try(runtime, identity, trigger, page.trial)
        status = 422 if trial.mistake else 200
        return await _show(request, runtime, identity, kept, replace(page, trial=trial), status_code=status)
    return await _save(request, runtime, identity, kept, trigger, page)


@router.post(f"{ADDRESS}/{{trigger_name}}/yaml")
async def change_yaml(
    request: Request,
    runtime: RuntimeDependency,
    identity: Settings,
    trigger_name: str,
    yaml: Annotated[str, Form(max_length=LONGEST_YAML)] = "",
) -> Response:
    """Save the definition that was written as YAML."""
    kept = None if trigger_name == NEW else await _kept(runtime, identity, trigger_name)
    fields = TriggerFields() if kept is None else fields_of(kept.trigger)
    page = TriggerPage(fields=fields, faults={}, yaml=yaml.replace("\r\n", "\n"))
    try:
        trigger = read_trigger_yaml(yaml)
    except FaultyFileError as error:
        faulty = replace(page, yaml_faults=error.faults)
        return await _show(request, runtime, identity, kept, faulty, status_code=422)
    if kept is not None and trigger.name != kept.trigger.name:
        fault = _("the name cannot change from %(name)s; create a new trigger for another name", name=kept.trigger.name)
        faulty = replace(page, yaml_faults=(FileFault(1, fault),))
        return await _show(request, runtime, identity, kept, faulty, status_code=422)
    return await _save(request, runtime, identity, kept, trigger, page)


@router.post(f"{ADDRESS}/{{trigger_name}}/turn")
async def turn(
    runtime: RuntimeDependency,
    identity: Settings,
    trigger_name: str,
    on: Annotated[bool, Form()],
    from_list: Annotated[bool, Form()] = False,
) -> Response:
    """Turn a trigger on or off."""
    await manage_triggers.turn_trigger(runtime, identity.tenant_id, trigger_name, administrator_of(identity), on=on)
    place = ADDRESS if from_list else f"{ADDRESS}/{trigger_name}"
    return RedirectResponse(f"{place}?done={'on' if on else 'off'}", 303)


@router.post(f"{ADDRESS}/{{trigger_name}}/delete")
async def delete(runtime: RuntimeDependency, identity: Settings, trigger_name: str) -> Response:
    """Delete a trigger."""
    await manage_triggers.delete_trigger(runtime, identity.tenant_id, trigger_name, administrator_of(identity))
    return RedirectResponse(f"{ADDRESS}?done=deleted", 303)


@router.post(f"{ADDRESS}/{{trigger_name}}/keys")
async def add_key(request: Request, runtime: RuntimeDependency, identity: Settings, trigger_name: str) -> Response:
    """Make a key that signs the trigger's webhooks, and show it once."""
    kept = await _kept(runtime, identity, trigger_name)
    page = TriggerPage(fields=fields_of(kept.trigger), faults={})
    try:
        key = await add_webhook_key(runtime, identity.tenant_id, kept.trigger.name, administrator_of(identity))
    except ChangeRefusedError as error:
        return await _show(request, runtime, identity, kept, replace(page, mistake=said(error)), status_code=409)
    return await _show(request, runtime, identity, kept, replace(page, key=key))


@router.post(f"{ADDRESS}/{{trigger_name}}/keys/{{key_id}}/remove")
async def remove_key(runtime: RuntimeDependency, identity: Settings, trigger_name: str, key_id: str) -> Response:
    """Sign the trigger's webhooks with that key no longer."""
    await remove_webhook_key(runtime, identity.tenant_id, trigger_name, key_id[:100], administrator_of(identity))
    return RedirectResponse(f"{ADDRESS}/{trigger_name}?done=key_removed#keys", 303)


async def _save(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    kept: KeptTrigger | None,
    trigger: Trigger,
    page: TriggerPage,
) -> Response:
    by, mistake = administrator_of(identity), ""
    faults: dict[str, str] = {}
    if trigger.name in RESERVED_NAMES:
        faults["name"] = _("This name is already in use. Choose another one.")
    else:
        try:
            await manage_triggers.save_trigger(runtime, identity.tenant_id, trigger, by, is_new=kept is None)
        except AlreadyTakenError as error:
            faults["name"] = said(error)
        except ChangeRefusedError as error:
            mistake = said(error)
        else:
            return RedirectResponse(f"{ADDRESS}/{trigger.name}?done={'saved' if kept else 'added'}", 303)
    yaml_faults = tuple(FileFault(1, fault) for fault in faults.values()) if page.yaml is not None else ()
    page = replace(page, faults={} if yaml_faults else faults, yaml_faults=yaml_faults, mistake=mistake)
    return await _show(request, runtime, identity, kept, page, status_code=422)


def _read(fields: TriggerFields, kept: KeptTrigger | None) -> tuple[Trigger | None, dict[str, str]]:
    """The trigger in the form, and what is wrong with it by field."""
    document, faults = definition_of_fields(fields)
    if kept is not None:
        keep_order(document, trigger_to_json(kept.trigger))
    try:
        return read_trigger(document), faults
    except DefinitionError as error:
        return None, {**faults_by_field(error.problems, fields), **faults}


def _asked(form: FormData, fields: TriggerFields) -> TriggerTrial:
    given = {row.name: str(form.get(f"try.{row.name}", ""))[:LONGEST_FIELD].strip() for row in fields.payload}
    return TriggerTrial(session=str(form.get("try_session", ""))[:100].strip(), values=given)


async def _try(runtime: Runtime, identity: Principal, trigger: Trigger, asked: TriggerTrial) -> TriggerTrial:
    """What *trigger* would do with what was asked: the conversation that is named, or the latest that fits."""
    try:
        session_id = UUID(asked.session) if asked.session else None
    except ValueError:
        return replace(asked, mistake=_("Enter a conversation’s ID."))
    try:
        if session_id is None and trigger.event in OF_SESSIONS:
            session_id = await latest_fitting(runtime, identity, trigger)
            if session_id is None:
                mistake = _("No conversation matches this trigger yet. Enter a conversation’s ID.")
                return replace(asked, mistake=mistake)
        payload = _payload(trigger, asked.values or {})
        tried = await try_for(runtime, identity, trigger, session_id=session_id, payload=payload)
    except (NotFoundError, ChangeRefusedError, TooSlowError) as error:
        return replace(asked, mistake=said(error))
    except HTTPException as error:
        return replace(asked, mistake=str(error.detail))
    return replace(asked, tried=tried, used_session=session_id)


def _payload(trigger: Trigger, given: Mapping[str, str]) -> dict[str, Any]:
    """What was typed for the fields of a request, as a program would send it."""
    found: dict[str, Any] = {}
    for name, type_ in trigger.payload.items():
        text = given.get(name, "")
        if not text:
            continue
        found[name] = text
        if type_ is VariableType.BOOLEAN:
            found[name] = {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
        elif type_ is VariableType.NUMBER:
            try:
                found[name] = float(text) if "." in text else int(text)
            except ValueError:
                found[name] = text
    return found


async def _kept(runtime: Runtime, identity: Principal, name: str) -> KeptTrigger:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await triggers.get(connection, identity.tenant_id, name.replace("\0", "")[:100])
    if found is None:
        raise NotFoundError(_("This trigger no longer exists. Someone may have deleted it."))
    return found


async def _show(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    kept: KeptTrigger | None,
    page: TriggerPage,
    *,
    status_code: int = 200,
) -> Response:
    tenant_id = identity.tenant_id
    fired: list[Firing] = []
    keys: Sequence[SealedKey] = ()
    async with runtime.database.tenant(tenant_id) as connection:
        accounts = await channel_accounts.list_all(connection, tenant_id)
        waba_ids = {one.waba_id for one in accounts if one.waba_id}
        choices = _Choices(
            await mail_templates.list_all(connection, tenant_id),
            await channel_templates.list_all(connection, tenant_id, waba_ids),
            accounts,
        )
        if kept is not None:
            fired = await firings.latest(connection, tenant_id, kept.trigger.name, limit=LATEST_FIRINGS)
            found = await webhook_keys.of_triggers(connection, tenant_id, [kept.trigger.name])
            keys = found.get(kept.trigger.name, ())
    fields = page.fields.with_room()
    return render(
        request,
        "settings/trigger.html",
        status_code=status_code,
        kept=kept,
        own=f"{ADDRESS}/{kept.trigger.name if kept else NEW}",
        page=page,
        fields=fields,
        wrong=page.faults,
        yaml=page.yaml if page.yaml is not None else trigger_to_yaml(kept.trigger) if kept else "",
        choices=choices,
        variables=choices.variables(page.fields),
        fired=fired,
        keys=keys,
        key=page.key,
        most_keys=MOST,
        events=trigger_words.EVENTS,
        recipients=trigger_words.RECIPIENTS,
        of_sessions=[str(each) for each in OF_SESSIONS],
        fact_words=trigger_words.FACT_WORDS,
        operators=OPERATORS,
        payload_types=PAYLOAD_TYPES,
        outcomes=list(Outcome),
        known_facts=list(FACTS),
        statuses=ENTRY_STATUSES,
        status_words=status_words,
        text_of=text_of_delivery,
        seen=identity.visibility,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        address=ADDRESS,
        outbox=OUTBOX,
        needs_session=page.fields.event in OF_SESSIONS,
        is_request=page.fields.event == TriggerEvent.REQUEST,
    )
