"""``/api/v1/skills``: the registry, to be read, and for administrators to be changed and tried."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dragoman.domain.errors import AlreadyTakenError, ChangeRefusedError, ConfigurationError
from dragoman.domain.nouns import Level, SkillSpec
from dragoman.services.catalogue import manage_skills
from dragoman.services.catalogue.manage_skills import LONGEST_REASON, Registration
from dragoman.services.catalogue.read_skills import HistoryEntry, RegistryRow, SkillDetail, list_skills
from dragoman.services.catalogue.try_skill import ParameterValuesError, TriedCall, try_skill
from dragoman.services.visibility import Visibility
from dragoman.skills.manifest import ManifestError, read_manifest
from dragoman.skills.parameter_schema import schema_of
from dragoman.skills.signing import SigningKey
from dragoman.store.catalogue.skill_history import ChangeKind, SkillChange
from dragoman.store.catalogue.skill_list import SkillFilters, SkillKind, SkillStatus
from dragoman.store.insights.usage import FailedInvocation
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.filters import PageQuery, Words, given_once
from dragoman.web.api.skill_figures import SkillFigures
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.http.dependencies import RuntimeDependency, retention_cutoff
from dragoman.web.http.problems import InvalidParameterError
from dragoman.web.skill_reads import skill_for

Reader = Annotated[Principal, Depends(require("communications.access:read"))]
Administrator = Annotated[Principal, Depends(require("communications.access:admin"))]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\.[a-z][a-z0-9_]{0,62}")
Name = Annotated[str, Path(max_length=127, pattern=f"^{_NAME.pattern}$", description="`service.skill`")]

router = APIRouter(prefix="/api/v1/skills", tags=["skills"])

MANIFEST_BYTES = 256 * 1024


class SkillQuery(PageQuery):
    """Narrows the registry. All that are given must fit."""

    status: SkillStatus | None = None
    kind: SkillKind | None = Field(None, description="What provides its code: an installed package, or a server")
    q: Words | None = Field(None, description="A part of its name, label or owner")


class RetirementResource(BaseModel):
    """Says when a skill was retired, by whom and why; what nobody wrote down is empty."""

    at: datetime
    by: str
    via: str = Field(description="session, token, command line or system")
    reason: str

    @classmethod
    def of(cls, change: SkillChange | None, seen: Visibility) -> Self | None:
        """Show *change* to those who see what *seen* says."""
        if change is None:
            return None
        return cls(at=change.at, by=change.by.name, via=change.by.via, reason=seen.typed(change.reason))


class FailureResource(BaseModel):
    """Describes a call that failed after its last attempt; ``position`` is the event's in the session's timeline."""

    at: datetime
    session_id: str
    position: int
    attempts: int
    error_class: str
    message: str
    duration_ms: float | None

    @classmethod
    def of(cls, failure: FailedInvocation, seen: Visibility) -> Self:
        """Show *failure* to those who see what *seen* says."""
        return cls(
            at=failure.at, session_id=str(failure.session_id), position=failure.position, attempts=failure.attempts,
            error_class=failure.error_class, message=seen.typed(failure.message), duration_ms=failure.duration_ms,
        )  # fmt: skip


class LastFailureResource(BaseModel):
    """Says when a skill last failed after its last attempt, and where that stands."""

    at: datetime
    session_id: str
    position: int
    error_class: str

    @classmethod
    def of(cls, failure: FailedInvocation | None) -> Self | None:
        """Show *failure*, if there is one."""
        return None if failure is None else cls(
            at=failure.at, session_id=str(failure.session_id), position=failure.position,
            error_class=failure.error_class,
        )  # fmt: skip


class ListedSkillResource(BaseModel):
    """Describes a skill in its current version."""

    name: str
    label: str
    version: str
    owner: str
    minimum_level: str = Field(description="UNVERIFIED, PHONE_MATCHED or CONTACT_CONFIRMED")
    kind: SkillKind
    status: SkillStatus
    phrase_count: int
    registered_at: datetime
    retirement: RetirementResource | None
    last_24_hours: SkillFigures
    last_failure: LastFailureResource | None

    @classmethod
    def of(cls, row: RegistryRow, seen: Visibility) -> Self:
        """Show *row* to those who see what *seen* says."""
        one = row.listed
        return cls(
            name=one.name, label=one.label, version=one.version, owner=one.owner,
            minimum_level=one.minimum_level.name, kind=one.kind, status="retired" if one.retired_at else "in_use",
            phrase_count=one.phrase_count, registered_at=one.registered_at,
            retirement=RetirementResource.of(row.retirement, seen), last_24_hours=SkillFigures.of(row.usage),
            last_failure=LastFailureResource.of(row.last_failure),
        )  # fmt: skip


class SkillPageResource(BaseModel):
    """Holds a part of the registry, by name."""

    items: list[ListedSkillResource]
    next_cursor: str | None


class PhraseResource(BaseModel):
    """Something that people say when they want the skill."""

    text: str
    locale: str


class SkillUseResource(BaseModel):
    """Names what leads to the skill; ``places`` are its steps or nodes."""

    kind: str = Field(description="flow, menu or short menu")
    name: str
    places: list[str]


class HistoryResource(BaseModel):
    """Tells one thing that happened to the skill; ``number`` counts from 1."""

    number: int
    at: datetime
    kind: ChangeKind
    version: str
    by: str
    via: str
    reason: str
    differences: list[str] = Field(description="What changed compared with the version registered before")

    @classmethod
    def of(cls, entry: HistoryEntry, seen: Visibility) -> Self:
        """Show *entry* to those who see what *seen* says."""
        change = entry.change
        return cls(
            number=change.number, at=change.at, kind=change.kind, version=change.version, by=change.by.name,
            via=change.by.via, reason=seen.typed(change.reason), differences=list(entry.differences),
        )  # fmt: skip


class KeyResource(BaseModel):
    """Names a key that signs the skill's calls."""

    key_id: str
    created_at: datetime


class NewKeyResource(BaseModel):
    """Holds a new key with its secret, which is shown this once."""

    key_id: str
    secret: str

    @classmethod
    def of(cls, key: SigningKey) -> Self:
        """Show *key*."""
        return cls(key_id=key.key_id, secret=key.secret)


class SkillResource(BaseModel):
    """Describes a skill whole; its history is newest first."""

    name: str
    label: str
    version: str
    description: str
    owner: str
    module: str
    kind: SkillKind
    status: SkillStatus
    minimum_level: str
    timeout_seconds: float
    attempts: int
    cost_micros: int
    url: str | None = Field(description="URL of an HTTP skill; otherwise null")
    parameters: dict[str, Any] = Field(description="JSON Schema")
    answer: dict[str, Any] | None = Field(description="JSON Schema of its response data, if it has one")
    phrases: list[PhraseResource]
    keywords: list[str]
    keys: list[KeyResource]
    used_by: list[SkillUseResource]
    retirement: RetirementResource | None
    history: list[HistoryResource]
    last_24_hours: SkillFigures
    last_7_days: SkillFigures
    recent_failures: list[FailureResource]


class RetirementReason(BaseModel):
    """Says why a skill is retired; it stands on record."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(min_length=1, max_length=LONGEST_REASON, pattern=r"\S")


class RestorationReason(BaseModel):
    """Says why a skill comes back; it stands on record."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=LONGEST_REASON)


class ChangedResource(BaseModel):
    """Says how a skill stands after a change; ``changed`` is false where it stood so before."""

    name: str
    status: SkillStatus
    changed: bool


class RegistrationResource(BaseModel):
    """Says what registering a manifest came to, or would come to."""

    name: str
    version: str
    new: bool
    changed: bool
    dry_run: bool
    differences: list[str]
    key: NewKeyResource | None = Field(description="The first key of a new skill; shown only once")

    @classmethod
    def of(cls, done: Registration, *, dry_run: bool) -> Self:
        """Show *done*."""
        return cls(
            name=done.name, version=done.version, new=done.new, changed=done.changed, dry_run=dry_run,
            differences=list(done.differences), key=None if done.key is None else NewKeyResource.of(done.key),
        )  # fmt: skip


class TrialRequest(BaseModel):
    """Brings the values for a test call."""

    model_config = ConfigDict(extra="forbid")

    parameters: dict[str, Any] = Field(default_factory=dict, description="Values by the parameters' names")
    locale: str = Field(default="en", pattern="^[a-z]{2,3}$", max_length=3)


class TriedCallResource(BaseModel):
    """Says what a test call sent and what came of it. Secret values are hidden; no key stands in it."""

    idempotency_key: str
    url: str
    headers: dict[str, str]
    body: str
    status: int | None = Field(description="HTTP status; null if there was no response, and for Python skills")
    answer: str
    duration_ms: float
    fit: str = Field(description="Whether the response is valid: fits, does not fit, or unknown")
    error_class: str = Field(description="Empty if the call succeeded")
    problem: str
    replies: list[str] = Field(description="What would have been sent to the contact")

    @classmethod
    def of(cls, tried: TriedCall) -> Self:
        """Show *tried*."""
        return cls(
            idempotency_key=tried.idempotency_key, url=tried.url, headers=dict(tried.headers), body=tried.body,
            status=tried.status, answer=tried.answer, duration_ms=tried.duration_ms, fit=tried.fit,
            error_class=tried.error_class, problem=tried.problem, replies=list(tried.replies),
        )  # fmt: skip


@router.get("", dependencies=[Depends(given_once)], responses=problems_of(401, 403, 422))
async def list_registered_skills(
    identity: Reader, runtime: RuntimeDependency, query: Annotated[SkillQuery, Query()]
) -> SkillPageResource:
    """List the registry: current versions, retired skills included, by name."""
    filters = SkillFilters(status=query.status, kind=query.kind, words=query.q)
    after = _name_of(query.cursor) if query.cursor else ""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await list_skills(
            connection,
            identity.tenant_id,
            filters,
            now=runtime.clock.now(),
            kept_since=retention_cutoff(runtime, identity.retention_days),
            after=after,
            limit=query.limit,
        )
    return SkillPageResource(
        items=[ListedSkillResource.of(row, identity.visibility) for row in found.items],
        next_cursor=_cursor_of(found.next_name) if found.next_name else None,
    )


@router.get("/{name}", responses=problems_of(401, 403, 404, 422))
async def read_registered_skill(name: Name, identity: Reader, runtime: RuntimeDependency) -> SkillResource:
    """Show one skill with its history, its use, its failures and what leads to it."""
    found = await skill_for(runtime, identity, name)
    return _resource(found, identity.visibility)


@router.put(
    "/{name}",
    dependencies=[Depends(given_once)],
    responses=problems_of(400, 401, 403, 409, 422),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The manifest of a skill behind HTTP, as YAML or JSON; its name is the address's",
            "content": {
                "application/yaml": {"schema": {"type": "string"}},
                "application/json": {"schema": {"type": "object"}},
            },
        }
    },
)
async def register_skill(
    request: Request,
    name: Name,
    identity: Administrator,
    runtime: RuntimeDependency,
    dry_run: Annotated[bool, Query(description="Only report what would change")] = False,
) -> RegistrationResource:
    """Make the manifest the skill's current version. A skill that had no key gets one, which is answered once.

    A retired skill stays retired. Refused with 409 where a flow has the name.
    """
    spec = await _manifest(request, name)
    try:
        if dry_run:
            done = await manage_skills.preview_manifest(runtime, identity.tenant_id, spec)
        else:
            done = await manage_skills.register_manifest(runtime, identity.tenant_id, spec, administrator_of(identity))
    except AlreadyTakenError as error:
        raise HTTPException(409, str(error)) from error
    return RegistrationResource.of(done, dry_run=dry_run)


@router.post("/{name}/retire", responses=problems_of(400, 401, 403, 404, 422))
async def retire_registered_skill(
    name: Name, given: RetirementReason, identity: Administrator, runtime: RuntimeDependency
) -> ChangedResource:
    """Take a skill out of use: contacts who ask for it are told so. Done twice, it changes nothing."""
    try:
        changed = await manage_skills.retire_skill(
            runtime, identity.tenant_id, name, administrator_of(identity), reason=given.reason
        )
    except ChangeRefusedError as error:
        raise InvalidParameterError("reason", str(error)) from error
    return ChangedResource(name=name, status="retired", changed=changed)


@router.post("/{name}/restore", responses=problems_of(400, 401, 403, 404, 422))
async def restore_registered_skill(
    name: Name, given: RestorationReason, identity: Administrator, runtime: RuntimeDependency
) -> ChangedResource:
    """Put a retired skill back into use. Done twice, it changes nothing."""
    changed = await manage_skills.restore_skill(
        runtime, identity.tenant_id, name, administrator_of(identity), reason=given.reason
    )
    return ChangedResource(name=name, status="in_use", changed=changed)


@router.post("/{name}/test-call", responses=problems_of(400, 401, 403, 404, 409, 422))
async def test_call_skill(
    name: Name, given: TrialRequest, identity: Administrator, runtime: RuntimeDependency
) -> TriedCallResource:
    """Call a skill once: it really runs. Nothing is sent to any contact, and the call is on the record.

    A call that fails is answered with 200 and its ``error_class``. Refused with 409 where none can be made.
    """
    by = administrator_of(identity)
    try:
        tried = await try_skill(runtime, identity.tenant_id, name, given.parameters, by, locale=given.locale)
    except ParameterValuesError as error:
        raise InvalidParameterError("parameters", str(error)) from error
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error
    return TriedCallResource.of(tried)


@router.post("/{name}/keys", status_code=201, responses=problems_of(401, 403, 404, 409, 422))
async def add_skill_key(name: Name, identity: Administrator, runtime: RuntimeDependency) -> NewKeyResource:
    """Sign the calls of a skill behind HTTP with one more key, which is answered this once; two at a time."""
    await manage_skills.check_behind_http(runtime, identity.tenant_id, name)
    try:
        key = await manage_skills.add_key(runtime, identity.tenant_id, name, administrator_of(identity))
    except ConfigurationError as error:
        raise HTTPException(409, str(error)) from error
    return NewKeyResource.of(key)


@router.delete("/{name}/keys/{key_id}", status_code=204, responses=problems_of(401, 403, 404, 422))
async def remove_skill_key(
    name: Name,
    key_id: Annotated[str, Path(max_length=40, pattern="^[A-Za-z0-9_]+$")],
    identity: Administrator,
    runtime: RuntimeDependency,
) -> None:
    """Sign the calls of a skill with this key no longer, and forget it."""
    await manage_skills.remove_key(runtime, identity.tenant_id, name, key_id, administrator_of(identity))


async def _manifest(request: Request, name: str) -> SkillSpec:
    """The skill in the request's body.

    Raises HTTPException 400 for what is no text, InvalidParameterError for what is not the manifest of *name*.
    """
    body = await request.body()
    if len(body) > MANIFEST_BYTES:
        raise InvalidParameterError("body", f"a manifest has {MANIFEST_BYTES} bytes at most")
    try:
        spec = read_manifest(body.decode(), "manifest")
    except UnicodeDecodeError as error:
        raise HTTPException(400, "The manifest is not UTF-8 text.") from error
    except ManifestError as error:
        raise InvalidParameterError("body", str(error)) from error
    if spec.name != name:
        raise InvalidParameterError("name", f"the manifest is that of {spec.name}")
    return spec


def _cursor_of(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")


def _name_of(cursor: str) -> str:
    """The name in a cursor. Raises InvalidParameterError for one that no list gave out."""
    try:
        name = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:  # no base64, or no ASCII in it
        name = ""
    if not _NAME.fullmatch(name) or _cursor_of(name) != cursor:
        raise InvalidParameterError("cursor", "is not valid; use next_cursor of the previous page")
    return name


def _resource(found: SkillDetail, seen: Visibility) -> SkillResource:
    spec = found.spec
    return SkillResource(
        name=spec.name,
        label=spec.label,
        version=spec.version,
        description=spec.description,
        owner=spec.owner,
        module=spec.module,
        kind=found.kind,
        status="retired" if spec.retired else "in_use",
        minimum_level=Level(spec.minimum_level).name,
        timeout_seconds=spec.timeout_seconds,
        attempts=spec.max_attempts,
        cost_micros=spec.cost_micros,
        url=spec.http.url if spec.http else None,
        parameters=schema_of(spec.parameters),
        answer=dict(spec.http.answer) if spec.http and spec.http.answer else None,
        phrases=[PhraseResource(text=phrase.text, locale=phrase.locale) for phrase in spec.phrases],
        keywords=list(spec.keywords),
        keys=[KeyResource(key_id=key.key_id, created_at=key.created_at) for key in found.keys],
        used_by=[SkillUseResource(kind=use.kind, name=use.name, places=list(use.places)) for use in found.uses],
        retirement=RetirementResource.of(found.retirement, seen),
        history=[HistoryResource.of(entry, seen) for entry in found.history],
        last_24_hours=SkillFigures.of(found.last_day),
        last_7_days=SkillFigures.of(found.last_week),
        recent_failures=[FailureResource.of(failure, seen) for failure in found.failures],
    )
