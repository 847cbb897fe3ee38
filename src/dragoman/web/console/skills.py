"""The registry of skills: a list, a page for each skill, and what administrators do there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import FormData

from dragoman.dispatch.texts import LANGUAGES
from dragoman.domain.errors import ChangeRefusedError, ConfigurationError
from dragoman.domain.skill_differences import LEVEL_NAMES
from dragoman.domain.text_values import choice_refusal, without_nul
from dragoman.services.catalogue import manage_skills
from dragoman.services.catalogue.import_definitions import skill_to_yaml
from dragoman.services.catalogue.read_skills import list_skills
from dragoman.services.catalogue.try_skill import ParameterValuesError, try_skill
from dragoman.store.catalogue import skill_list
from dragoman.store.catalogue.skill_list import SkillFilters
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.console.filter_times import RecordQuery
from dragoman.web.console.page import render, said, sentence
from dragoman.web.console.skill_page import ADDRESS, CHANGE, KINDS, TrialForm, calls_address, show_skill, who
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

PAGE_SIZE = 50
LONGEST_JSON = 20_000

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Changer = Annotated[Principal, Depends(require(CHANGE))]
Reason = Annotated[str, Form(max_length=5000)]

STATUSES = {"in_use": deferred("In use"), "retired": deferred("Retired")}

_DONE = {
    "retired": deferred("Skill retired. Contacts who ask for it are told from the next message."),
    "was_retired": deferred("The skill was already retired."),
    "restored": deferred("Skill restored. It is available from the next message."),
    "was_restored": deferred("The skill is already in use."),
    "key_removed": deferred("Key removed. Calls are no longer signed with it."),
}


@dataclass(frozen=True, slots=True)
class _SkillQuery(RecordQuery):
    NAMES: ClassVar[tuple[str, ...]] = ("status", "kind", "q")
    TAB: ClassVar[str] = "status"
    PAGE: ClassVar[str] = ADDRESS

    def filters(self) -> SkillFilters:
        """The same for the store. Raises ValueError with what to do."""
        return SkillFilters(
            status=_one_of(_("Status"), self["status"], {"in_use": "in_use", "retired": "retired"}),
            kind=_one_of(_("Kind"), self["kind"], {"python": "python", "http": "http", "built_in": "built_in"}),
            words=without_nul(self["q"]) or None,
        )


def _one_of(label: str, given: str, known: dict[str, Any]) -> Any:
    if given and given not in known:
        raise ValueError(_("%(name)s: %(refusal)s.", name=label, refusal=choice_refusal(known, given)))
    return known.get(given)


@router.get(ADDRESS)
async def list_registry(request: Request, runtime: RuntimeDependency, identity: Reader) -> Response:
    """Show the list."""
    query, mistake, page = _SkillQuery.read(request), "", None
    after = request.query_params.get("after", "")[:200]
    async with runtime.database.tenant(identity.tenant_id) as connection:
        counts = await skill_list.counts(connection, identity.tenant_id)
        try:
            page = await list_skills(
                connection,
                identity.tenant_id,
                query.filters(),
                now=runtime.clock.now(),
                kept_since=retention_cutoff(runtime, identity.retention_days),
                after=after,
                limit=PAGE_SIZE,
            )
        except ValueError as error:
            mistake = said(error)
    return render(
        request,
        "skills/list.html",
        status_code=422 if mistake else 200,
        address=ADDRESS,
        query=query,
        mistake=mistake,
        rows=page.items if page else [],
        next_name=page.next_name if page else None,
        after=after,
        counts={"": sum(counts.values()), **counts},
        statuses=STATUSES,
        kinds=KINDS,
        levels=LEVEL_NAMES,
        span=page.span if page else None,
        calls=calls_address,
        who=who,
    )


@router.get(f"{ADDRESS}/{{name}}")
async def show(request: Request, runtime: RuntimeDependency, identity: Reader, name: str) -> Response:
    """Show one skill."""
    done = _DONE.get(request.query_params.get("done", ""), "")
    return await show_skill(request, runtime, identity, name, done=done)


@router.get(f"{ADDRESS}/{{name}}/manifest.yaml")
async def manifest(runtime: RuntimeDependency, identity: Reader, name: str) -> Response:
    """Give out the manifest of a skill behind HTTP, as a file that can be registered again."""
    spec = await manage_skills.check_behind_http(runtime, identity.tenant_id, name)
    shown = {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
    return Response(skill_to_yaml(spec), media_type="application/yaml", headers=shown)


@router.post(f"{ADDRESS}/{{name}}/retire")
async def retire(
    request: Request, runtime: RuntimeDependency, identity: Changer, name: str, reason: Reason = ""
) -> Response:
    """Take the skill out of use."""
    try:
        changed = await manage_skills.retire_skill(
            runtime, identity.tenant_id, name, administrator_of(identity), reason=reason
        )
    except ChangeRefusedError as error:
        return await show_skill(request, runtime, identity, name, status_code=409, mistake=said(error))
    return _done(name, "retired" if changed else "was_retired")


@router.post(f"{ADDRESS}/{{name}}/restore")
async def restore(
    request: Request, runtime: RuntimeDependency, identity: Changer, name: str, reason: Reason = ""
) -> Response:
    """Put the skill back into use."""
    try:
        changed = await manage_skills.restore_skill(
            runtime, identity.tenant_id, name, administrator_of(identity), reason=reason
        )
    except ChangeRefusedError as error:
        return await show_skill(request, runtime, identity, name, status_code=409, mistake=said(error))
    return _done(name, "restored" if changed else "was_restored")


@router.post(f"{ADDRESS}/{{name}}/keys")
async def add_key(request: Request, runtime: RuntimeDependency, identity: Changer, name: str) -> Response:
    """Make a key that signs calls of the skill, and show it once."""
    await manage_skills.check_behind_http(runtime, identity.tenant_id, name)
    try:
        key = await manage_skills.add_key(runtime, identity.tenant_id, name, administrator_of(identity))
    except ConfigurationError as error:
        return await show_skill(request, runtime, identity, name, status_code=409, mistake=sentence(error))
    return await show_skill(request, runtime, identity, name, key=key)


@router.post(f"{ADDRESS}/{{name}}/keys/{{key_id}}/remove")
async def remove_key(runtime: RuntimeDependency, identity: Changer, name: str, key_id: str) -> Response:
    """Sign calls of the skill with this key no longer."""
    await manage_skills.remove_key(runtime, identity.tenant_id, name, key_id, administrator_of(identity))
    return _done(name, "key_removed", "#keys")


@router.post(f"{ADDRESS}/{{name}}/test-call")
async def test_call(request: Request, runtime: RuntimeDependency, identity: Changer, name: str) -> Response:
    """Call the skill with the form's values, and show what was sent and what came of it."""
    form, given, mistake = _trial(await request.form(max_files=0))
    tried = None
    if not mistake:
        try:
            tried = await try_skill(
                runtime, identity.tenant_id, name, given, administrator_of(identity), locale=form.locale
            )
        except ParameterValuesError as error:
            form = TrialForm(values=form.values, written=form.written, locale=form.locale, faults=_faults(error))
            mistake = _("Not run: some values are not valid.")
        except ChangeRefusedError as error:
            mistake = said(error)
    status = 200 if tried else 422
    return await show_skill(
        request, runtime, identity, name, status_code=status, mistake=mistake, form=form, tried=tried
    )


def _faults(error: ParameterValuesError) -> dict[str, str]:
    return {name: translated(fault) for name, fault in error.faults.items()}


def _trial(sent: FormData) -> tuple[TrialForm, dict[str, Any], str]:
    """The form as it was sent, the values in it, and what is wrong with it as a whole."""
    values = {
        key.removeprefix("value."): str(value)[:2000].strip()
        for key, value in sent.multi_items()
        if key.startswith("value.")
    }
    written = str(sent.get("json", ""))[:LONGEST_JSON].strip()
    locale = str(sent.get("locale", ""))
    form = TrialForm(values=values, written=written, locale=locale if locale in LANGUAGES else "en")
    if not written:
        return form, dict(values), ""
    try:
        given = json.loads(written)
    except (ValueError, RecursionError) as error:
        return form, {}, _("This is not valid JSON: %(problem)s.", problem=error)
    if not isinstance(given, dict):
        return form, {}, _('The values as JSON are an object, such as {"number": "VF-12345"}.')
    return form, given, ""


def _done(name: str, what: str, place: str = "") -> Response:
    return RedirectResponse(f"{ADDRESS}/{name}?done={what}{place}", 303)
