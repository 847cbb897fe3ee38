"""``/api/v1/mail-templates``: what triggers write by mail, in versions, to be read, changed and looked at filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.rendering.templates import (
    BODY_SOURCE_LIMIT,
    DESCRIPTION_LIMIT,
    NAME_LIMIT,
    SUBJECT_SOURCE_LIMIT,
    VARIABLES_LIMIT,
    EmailTemplate,
    TemplateError,
    TemplateVariable,
    VariableKind,
)
from dragoman.runtime import Runtime
from dragoman.services.automation import manage_templates
from dragoman.services.automation.manage_templates import LONGEST_LABEL, NO_TEMPLATE, TemplateFaults
from dragoman.store.automation import mail_templates
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.triggers import Reader, Settings, check_name
from dragoman.web.auth import Principal, administrator_of
from dragoman.web.automation_reads import preview_for
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError, InvalidParametersError, ParameterError

TemplatePath = Annotated[str, Path(max_length=64, pattern="^[a-z][a-z0-9_]*$", description="The template's name")]

router = APIRouter(prefix="/api/v1/mail-templates", tags=["mail templates"])

MOST_ATTACHMENTS = 10

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)


class TemplateVariableResource(BaseModel):
    """Describes a value that a template takes. Default and sample are in the JSON form of its kind."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=NAME_LIMIT)
    kind: VariableKind = "text"
    required: bool = True
    default: Any = Field(None, description="What it has where nothing is given")
    description: str = Field("", max_length=DESCRIPTION_LIMIT)
    sample: Any = Field(None, description="What it has in a preview")

    @classmethod
    def of(cls, found: TemplateVariable) -> Self:
        """Show *found*."""
        return cls(**found.to_json())


class TemplateAttachmentResource(BaseModel):
    """Names a file of the media store that goes with each mail."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=200)
    mime_type: str = Field(max_length=100, pattern="^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$")
    size: int = Field(ge=0, description="In bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", max_length=64)


class TemplateSource(BaseModel):
    """Says what a mail is made of. Without `text` the plain part is made of the HTML."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field(max_length=SUBJECT_SOURCE_LIMIT)
    html: str | None = Field(None, max_length=BODY_SOURCE_LIMIT)
    text: str | None = Field(None, max_length=BODY_SOURCE_LIMIT)
    variables: list[TemplateVariableResource] = Field(default_factory=list, max_length=VARIABLES_LIMIT)

    def template(self) -> EmailTemplate:
        """Give the same to the renderer. Raises InvalidParametersError."""
        names = ("subject", "html", "text", "variables")
        try:
            return EmailTemplate.from_json({name: self.model_dump()[name] for name in names})
        except TemplateError as error:
            raise faults_of([error]) from error


class NewTemplateVersion(TemplateSource):
    """Brings a template as it is to be from now on."""

    label: str = Field(min_length=1, max_length=LONGEST_LABEL)
    attachments: list[TemplateAttachmentResource] = Field(
        default_factory=list, max_length=MOST_ATTACHMENTS, description="Files that the media store has already"
    )


class ListedTemplateResource(BaseModel):
    """Describes a template in its current version."""

    name: str
    label: str
    version: int
    subject: str
    changed_at: datetime
    changed_by: str

    @classmethod
    def of(cls, found: TemplateVersion) -> Self:
        """Show *found*."""
        return cls(
            name=found.name, label=found.label, version=found.version, subject=str(found.source["subject"]),
            changed_at=found.created_at, changed_by=found.created_by,
        )  # fmt: skip


class TemplateListResource(BaseModel):
    """Holds all templates that are in use, by name."""

    items: list[ListedTemplateResource]


class MailTemplateResource(BaseModel):
    """Describes one version of a template, whole."""

    name: str
    label: str
    version: int
    is_current: bool
    created_at: datetime
    created_by: str
    subject: str
    html: str | None
    text: str | None
    variables: list[TemplateVariableResource]
    attachments: list[TemplateAttachmentResource]

    @classmethod
    def of(cls, found: TemplateVersion) -> Self:
        """Show *found*."""
        template = EmailTemplate.from_json(found.source)
        return cls(
            name=found.name, label=found.label, version=found.version, is_current=found.is_current,
            created_at=found.created_at, created_by=found.created_by, subject=template.subject, html=template.html,
            text=template.text, variables=[TemplateVariableResource.of(one) for one in template.variables],
            attachments=[TemplateAttachmentResource(**one) for one in found.attachments],
        )  # fmt: skip


class TemplateVersionResource(BaseModel):
    """Names one version of a template."""

    version: int
    label: str
    is_current: bool
    created_at: datetime
    created_by: str


class TemplateVersionsResource(BaseModel):
    """Holds every version of a template, the newest first. None is current where it was taken out of use."""

    items: list[TemplateVersionResource]


class PreviewRequest(BaseModel):
    """Says which template is looked at: one that is kept, by its name, or one that is brought along."""

    model_config = ConfigDict(extra="forbid")

    template: TemplateSource | None = Field(None, description="One that is not kept")
    name: str | None = Field(None, max_length=64, description="One that is kept")
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="With a name; else the current one")
    session_id: UUID | None = Field(None, description="A conversation whose facts take the samples' places")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.template is None) is (self.name is None):
            raise ValueError("give either template or name")
        return self


class PreviewResource(BaseModel):
    """Holds a mail as it would be sent. Without `audit.unmask` numbers and addresses in it are masked."""

    subject: str
    html: str | None
    text: str


@router.get("", responses=problems_of(401, 403))
async def list_mail_templates(identity: Reader, runtime: RuntimeDependency) -> TemplateListResource:
    """List the templates that are in use, by name."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await mail_templates.list_all(connection, identity.tenant_id)
    return TemplateListResource(items=[ListedTemplateResource.of(one) for one in found])


@router.post("/preview", responses=_CHANGE)
async def preview_mail_template(
    given: PreviewRequest, identity: Settings, runtime: RuntimeDependency
) -> PreviewResource:
    """See a template filled in with its samples, or with a conversation's facts. Nothing is kept or sent."""
    if given.template is not None:
        template = given.template.template()
    else:
        kept = await read_version(runtime, identity, given.name or "", given.version)
        template = EmailTemplate.from_json(kept.source)
    try:
        rendered = await preview_for(runtime, identity, template, session_id=given.session_id)
    except TemplateError as error:
        raise faults_of([error], "template." if given.template is not None else "") from error
    return PreviewResource(subject=rendered.subject, html=rendered.html, text=rendered.text)


@router.get("/{template_name:named}", responses=problems_of(401, 403, 404, 422))
async def read_mail_template(
    template_name: TemplatePath,
    identity: Reader,
    runtime: RuntimeDependency,
    version: Annotated[
        int | None, Query(ge=1, le=2**31 - 1, description="The current one where it is left out")
    ] = None,
) -> MailTemplateResource:
    """Show one version of a template."""
    return MailTemplateResource.of(await read_version(runtime, identity, template_name, version))


@router.get("/{template_name:named}/versions", responses=problems_of(401, 403, 404, 422))
async def list_template_versions(
    template_name: TemplatePath, identity: Reader, runtime: RuntimeDependency
) -> TemplateVersionsResource:
    """List every version of a template, the newest first."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await mail_templates.versions(connection, identity.tenant_id, template_name)
    if not found:
        raise NotFoundError(NO_TEMPLATE)
    return TemplateVersionsResource(
        items=[
            TemplateVersionResource(
                version=one.version, label=one.label, is_current=one.is_current, created_at=one.created_at,
                created_by=one.created_by,
            )
            for one in found
        ]
    )  # fmt: skip


@router.put("/{template_name:named}", responses=_CHANGE | problems_of(503))
async def save_mail_template(
    template_name: TemplatePath, given: NewTemplateVersion, identity: Settings, runtime: RuntimeDependency
) -> MailTemplateResource:
    """Make this the current version of a template; one that is the same makes no new version.

    Each fault is named: its part, its line, its variable.
    """
    check_name(template_name)
    template = given.template()
    attachments = [one.model_dump() for one in given.attachments]
    await _check_attachments(runtime, identity, attachments)
    try:
        await manage_templates.save_template(
            runtime, identity.tenant_id, template_name, given.label, template, administrator_of(identity),
            attachments=attachments,
        )  # fmt: skip
    except TemplateFaults as error:
        raise faults_of(error.faults) from error
    except ChangeRefusedError as error:
        raise InvalidParameterError("label", str(error)) from error
    return MailTemplateResource.of(await read_version(runtime, identity, template_name, None))


@router.delete("/{template_name:named}", status_code=204, responses=problems_of(401, 403, 404, 409, 422))
async def retire_mail_template(template_name: TemplatePath, identity: Settings, runtime: RuntimeDependency) -> None:
    """Take a template out of use; its versions stay. Refused with 409 while a trigger sends it."""
    try:
        await manage_templates.retire_template(runtime, identity.tenant_id, template_name, administrator_of(identity))
    except ChangeRefusedError as error:
        raise HTTPException(409, str(error)) from error


async def read_version(runtime: Runtime, identity: Principal, name: str, version: int | None) -> TemplateVersion:
    """Read one version of a template, or its current one. Raises NotFoundError."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await mail_templates.get(connection, identity.tenant_id, name, version=version)
    if found is None:
        raise NotFoundError(NO_TEMPLATE)
    return found


def faults_of(faults: Sequence[TemplateError], place: str = "") -> InvalidParametersError:
    """Say what is wrong with a template that stands in the body at *place*."""
    return InvalidParametersError(
        [
            ParameterError(
                parameter=place + (one.part or ("variables" if one.variable else "template")),
                detail=one.message, line=one.line, variable=one.variable,
            )
            for one in faults
        ]
    )  # fmt: skip


async def _check_attachments(runtime: Runtime, identity: Principal, given: Sequence[Mapping[str, Any]]) -> None:
    for number, one in enumerate(given):
        try:
            size = await runtime.blobs.size(BlobKey(identity.tenant_id, bytes.fromhex(one["sha256"])))
        except BlobsUnavailableError as error:
            raise HTTPException(503, f"The media store cannot be reached: {error}") from error
        if size != one["size"]:
            raise InvalidParameterError(
                f"attachments.{number}", "the media store has no such file; it takes those that messages brought"
            )
