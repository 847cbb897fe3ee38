"""``/api/v1/mail-templates``: what triggers write by mail, in versions, to be read, changed and looked at filled in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.media_types import safe_filename
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
from dragoman.services.automation.template_files import (
    MEGABYTE,
    MOST_FILE_BYTES,
    MOST_FILES,
    TemplateFile,
    TemplateFileError,
    is_proven,
    keep_upload,
    proof_of,
)
from dragoman.store.automation import mail_templates
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.web.api.conversations import problems_of
from dragoman.web.api.triggers import Reader, Settings, check_name
from dragoman.web.auth import Principal, administrator_of
from dragoman.web.automation_reads import preview_for
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.problems import InvalidParameterError, InvalidParametersError, ParameterError

TemplatePath = Annotated[str, Path(max_length=64, pattern="^[a-z][a-z0-9_]*$", description="The template's name")]

router = APIRouter(prefix="/api/v1/mail-templates", tags=["mail templates"])

_CHANGE = problems_of(400, 401, 403, 404, 409, 422)


class TemplateVariableResource(BaseModel):
    """Describes a value that a template takes. Default and sample are in the JSON form of its kind."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=NAME_LIMIT)
    kind: VariableKind = "text"
    required: bool = True
    default: Any = Field(None, description="Default value")
    description: str = Field("", max_length=DESCRIPTION_LIMIT)
    sample: Any = Field(None, description="Value in a preview")

    @classmethod
    def of(cls, found: TemplateVariable) -> Self:
        """Show *found*."""
        return cls(**found.to_json())


class TemplateAttachmentResource(BaseModel):
    """Names a file that goes with each mail, as the upload answers it and a version takes it. Its name may change."""

    model_config = ConfigDict(extra="forbid")

    filename: str = Field(min_length=1, max_length=200)
    mime_type: str = Field(max_length=100, pattern="^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$")
    size: int = Field(ge=0, description="In bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", max_length=64)
    proof: str = Field(
        pattern="^[0-9a-f]{64}$", max_length=64, description="Shows that the file was uploaded here for mail templates"
    )

    @classmethod
    def of(cls, runtime: Runtime, tenant_id: UUID, found: TemplateFile) -> Self:
        """Show *found*."""
        return cls(**found.to_json(), proof=proof_of(runtime, tenant_id, found))


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
        default_factory=list, max_length=MOST_FILES, description="Files that were uploaded earlier"
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
    def of(cls, runtime: Runtime, tenant_id: UUID, found: TemplateVersion) -> Self:
        """Show *found*."""
        template = EmailTemplate.from_json(found.source)
        return cls(
            name=found.name, label=found.label, version=found.version, is_current=found.is_current,
            created_at=found.created_at, created_by=found.created_by, subject=template.subject, html=template.html,
            text=template.text, variables=[TemplateVariableResource.of(one) for one in template.variables],
            attachments=_attachments(runtime, tenant_id, found),
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

    template: TemplateSource | None = Field(None, description="A template that is not saved")
    name: str | None = Field(None, max_length=64, description="A saved template")
    version: int | None = Field(None, ge=1, le=2**31 - 1, description="Needs a name; default: the current one")
    session_id: UUID | None = Field(None, description="A conversation whose data is used instead of the samples")

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
    attachments: list[TemplateAttachmentResource] = Field(description="Of a saved template")


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
    attachments: list[TemplateAttachmentResource] = []
    if given.template is not None:
        template = given.template.template()
    else:
        kept = await read_version(runtime, identity, given.name or "", given.version)
        template = EmailTemplate.from_json(kept.source)
        attachments = _attachments(runtime, identity.tenant_id, kept)
    try:
        rendered = await preview_for(runtime, identity, template, session_id=given.session_id)
    except TemplateError as error:
        raise faults_of([error], "template." if given.template is not None else "") from error
    return PreviewResource(subject=rendered.subject, html=rendered.html, text=rendered.text, attachments=attachments)


@router.post(
    "/attachments",
    status_code=201,
    responses=problems_of(401, 403, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": f"The file itself, of up to {MOST_FILE_BYTES // MEGABYTE} MB",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary", "minLength": 1}}},
        }
    },
)
async def upload_mail_attachment(
    request: Request,
    identity: Settings,
    runtime: RuntimeDependency,
    filename: Annotated[str, Query(min_length=1, max_length=200, description="File name in emails")],
) -> TemplateAttachmentResource:
    """Upload a file for the attachments of a version, and get what names it there. It is kept for an hour until then.

    What it is, its own bytes say, and its name where these say little. An empty file is refused.
    """
    content = await request.body()
    if len(content) > MOST_FILE_BYTES:
        raise HTTPException(413, f"A file has no more than {MOST_FILE_BYTES // MEGABYTE} MB.")
    try:
        found = await keep_upload(runtime, identity.tenant_id, content=content, name=filename)
    except TemplateFileError as error:
        raise InvalidParameterError("body", str(error)) from error
    except BlobsUnavailableError as error:
        raise _store_away(error) from error
    return TemplateAttachmentResource.of(runtime, identity.tenant_id, found)


@router.get("/{template_name:named}", responses=problems_of(401, 403, 404, 422))
async def read_mail_template(
    template_name: TemplatePath,
    identity: Reader,
    runtime: RuntimeDependency,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Default: the current one")] = None,
) -> MailTemplateResource:
    """Show one version of a template."""
    found = await read_version(runtime, identity, template_name, version)
    return MailTemplateResource.of(runtime, identity.tenant_id, found)


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
    attachments = _files(runtime, identity.tenant_id, given.attachments)
    try:
        await manage_templates.save_template(
            runtime, identity.tenant_id, template_name, given.label, template, administrator_of(identity),
            attachments=attachments,
        )  # fmt: skip
    except TemplateFaults as error:
        raise faults_of(error.faults) from error
    except TemplateFileError as error:
        number = "" if error.number is None else f".{error.number}"
        raise InvalidParameterError(f"attachments{number}", str(error)) from error
    except ChangeRefusedError as error:
        raise InvalidParameterError("label", str(error)) from error
    except BlobsUnavailableError as error:
        raise _store_away(error) from error
    found = await read_version(runtime, identity, template_name, None)
    return MailTemplateResource.of(runtime, identity.tenant_id, found)


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


def _attachments(runtime: Runtime, tenant_id: UUID, found: TemplateVersion) -> list[TemplateAttachmentResource]:
    files = map(TemplateFile.from_json, found.attachments)
    return [TemplateAttachmentResource.of(runtime, tenant_id, file) for file in files]


def _files(runtime: Runtime, tenant_id: UUID, given: Sequence[TemplateAttachmentResource]) -> list[TemplateFile]:
    """The files that are named. Raises InvalidParameterError for one that was not uploaded for mail templates."""
    files = []
    for number, one in enumerate(given):
        file = TemplateFile(
            filename=safe_filename(one.filename, otherwise="file"),
            mime_type=one.mime_type, size=one.size, sha256=one.sha256,
        )  # fmt: skip
        if not is_proven(runtime, tenant_id, file, one.proof):
            raise InvalidParameterError(f"attachments.{number}", "no such uploaded file; upload it first")
        files.append(file)
    return files


def _store_away(error: BlobsUnavailableError) -> HTTPException:
    return HTTPException(503, f"The media store cannot be reached: {error}")
