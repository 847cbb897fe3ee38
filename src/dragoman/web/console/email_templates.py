"""Shows the email templates that triggers send, each in versions, with a preview that can do no harm."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Path, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from dragoman.domain.errors import ChangeRefusedError, NotFoundError
from dragoman.domain.triggers import FACTS, TriggerChannel
from dragoman.rendering.templates import KINDS, EmailTemplate, RenderedEmail, TemplateError
from dragoman.runtime import Runtime
from dragoman.services.automation import manage_templates
from dragoman.services.automation.manage_templates import LONGEST_LABEL, TemplateFaults
from dragoman.services.automation.template_files import (
    MEGABYTE,
    MOST_BYTES,
    MOST_FILE_BYTES,
    MOST_FILES,
    TemplateFile,
    TemplateFileError,
)
from dragoman.store.automation import mail_templates, triggers
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web import media
from dragoman.web.auth import Principal, administrator_of, require
from dragoman.web.automation_reads import preview_for
from dragoman.web.console.formatting import size
from dragoman.web.console.outbox import MESSAGE_HEADERS, WITH_FRAMES
from dragoman.web.console.page import render, said
from dragoman.web.console.template_attachments import STORE_AWAY, kind_of, read_files, show_files, take_files
from dragoman.web.console.template_fields import (
    TemplateFields,
    changes_between,
    fields_of_version,
    read_template_fields,
    template_faults,
    template_of_fields,
)
from dragoman.web.console.trigger_fields import name_for
from dragoman.web.console.trigger_words import FACT_WORDS
from dragoman.web.http.dependencies import RuntimeDependency
from dragoman.web.http.named_paths import RESERVED_NAMES

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ADDRESS = "/communications/settings/email-templates"
NEW = "new"

Settings = Annotated[Principal, Depends(require("settings.admin"))]

_DONE = {
    "saved": deferred("Template saved. New emails use it from now on."),
    "same": deferred("No changes, so no new version was created."),
    "restored": deferred("Version restored as a new version."),
    "retired": deferred("Template retired. Emails already sent are not affected."),
}

KIND_WORDS = {
    "text": deferred("Text"),
    "number": deferred("Number"),
    "date": deferred("Date"),
    "datetime": deferred("Date and time"),
    "boolean": deferred("Yes or no"),
    "url": deferred("Web address"),
    "list": deferred("List"),
    "money": deferred("Amount"),
}

# Mail is made for white. A link would open a window of its own, which a sandboxed frame cannot.
_BEFORE = (
    '<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><base target="_blank">'
    "<title></title><style>:root{color-scheme:light;background:#fff;color:#16191f;"
    "font:15px/1.5 system-ui,sans-serif}.dgm-head{margin:0 0 12px;padding:0 0 10px;border-bottom:1px solid #d0d4dc;"
    "font-weight:600;overflow-wrap:anywhere}.dgm-text{margin:12px 0 0;padding:10px 0 0;border-top:1px solid #d0d4dc;"
    "white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 ui-monospace,monospace;color:#474e5a}"
    ".dgm-files{margin:12px 0 0;padding:10px 0 0;border-top:1px solid #d0d4dc;overflow-wrap:anywhere}"
    ".dgm-files ul{margin:4px 0 0;padding:0 0 0 20px}</style>"
)


@dataclass(frozen=True, slots=True)
class ShownVersion:
    """A version of a template as the list has it, with what it changed in words."""

    version: TemplateVersion
    changes: str


@router.get(ADDRESS)
async def list_templates(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show all templates that are in use, and which triggers send them."""
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await mail_templates.list_all(connection, identity.tenant_id)
        kept = await triggers.list_all(connection, identity.tenant_id)
    users: dict[str, list[tuple[str, str]]] = {}
    for one in kept:
        if one.trigger.channel is TriggerChannel.EMAIL:
            users.setdefault(one.trigger.template, []).append((one.trigger.name, one.trigger.label))
    return render(
        request,
        "settings/email_templates.html",
        found=found,
        users=users,
        done=_DONE.get(request.query_params.get("done", ""), ""),
        address=ADDRESS,
    )


@router.get(f"{ADDRESS}/{NEW}")
async def new(request: Request, runtime: RuntimeDependency, identity: Settings) -> Response:
    """Show an empty form."""
    return await _show(request, runtime, identity, None, TemplateFields())


@router.get(f"{ADDRESS}/{{template_name}}")
async def edit(request: Request, runtime: RuntimeDependency, identity: Settings, template_name: str) -> Response:
    """Show one template."""
    kept = await _kept(runtime, identity, template_name)
    return await _show(request, runtime, identity, kept, fields_of_version(kept))


@router.post(f"{ADDRESS}/{{template_name}}")
async def change(
    request: Request,
    runtime: RuntimeDependency,
    identity: Settings,
    template_name: str,
    file: Annotated[list[UploadFile] | None, File()] = None,
) -> Response:
    """Save the form as a new version, or show it with one more row. Files that come with it are kept in any case."""
    kept = None if template_name == NEW else await _kept(runtime, identity, template_name)
    form = await request.form()
    files, trouble = await take_files(runtime, identity.tenant_id, form, file or ())
    fields = replace(read_template_fields(form), files=files)
    if kept is not None:
        fields = replace(fields, name=kept.name)
    elif not fields.name:
        fields = replace(fields, name=name_for(fields.label) or "")
    if form.get("act") == "rows" and not trouble:
        return await _show(request, runtime, identity, kept, fields)
    faults, mistake = await _check_new(runtime, identity, kept, fields), ""
    if trouble:
        faults["attachments"] = trouble
    if not faults:
        try:
            version = await manage_templates.save_template(
                runtime, identity.tenant_id, fields.name, fields.label, template_of_fields(fields),
                administrator_of(identity), attachments=fields.attachments,
            )  # fmt: skip
        except TemplateFaults as error:
            faults = template_faults(error.faults, fields)
        except TemplateError as error:
            faults = template_faults([error], fields)
        except (TemplateFileError, BlobsUnavailableError) as error:
            faults = _file_faults(error)
        except ChangeRefusedError as error:
            mistake = said(error)
        else:
            done = "same" if kept and kept.version == version else "saved"
            return RedirectResponse(f"{ADDRESS}/{fields.name}?done={done}", 303)
    return await _show(request, runtime, identity, kept, fields, faults=faults, mistake=mistake, status_code=422)


@router.post(f"{ADDRESS}/{{template_name}}/preview")
async def preview_form(
    request: Request,
    runtime: RuntimeDependency,
    identity: Settings,
    template_name: str,  # noqa: ARG001 - the form has it all; a new template has no name yet
) -> Response:
    """Show the form's template filled in, for the frame beside it; nothing is saved."""
    form = await request.form(max_files=0, max_fields=2000)
    fields = read_template_fields(form)
    try:
        template = template_of_fields(fields)
        faults = await runtime.mail_templates.check(template)
    except TemplateError as error:
        return _framed_faults([error])
    if faults:
        return _framed_faults(faults)
    carried, __ = read_files(runtime, identity.tenant_id, form)
    # Of files that were only just chosen, this form has the names.
    chosen = [str(name) for name in form.getlist("file") if name]
    files = [*map(_file_line, replace(fields, files=carried).attachments), *chosen]
    return await _framed(runtime, identity, template, files, session=str(form.get("session", ""))[:100].strip())


@router.get(f"{ADDRESS}/{{template_name}}/preview")
async def preview_version(
    runtime: RuntimeDependency, identity: Settings, template_name: str, version: int | None = None
) -> Response:
    """Show a version, or the current one, filled in with its samples, for a frame."""
    found = await _kept(runtime, identity, template_name, version)
    files = [_file_line(TemplateFile.from_json(one)) for one in found.attachments]
    return await _framed(runtime, identity, EmailTemplate.from_json(found.source), files)


@router.get(f"{ADDRESS}/{{template_name}}/versions/{{version}}/attachments/{{number}}")
async def download_attachment(
    request: Request,
    runtime: RuntimeDependency,
    identity: Settings,
    template_name: str,
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    number: Annotated[int, Path(ge=0)],
) -> Response:
    """Send one of a version's attachments, counted from 0, to be saved."""
    found = await _kept(runtime, identity, template_name, version)
    if number >= len(found.attachments):
        raise NotFoundError(_("This version does not have this attachment."))
    file = TemplateFile.from_json(found.attachments[number])
    key = BlobKey(identity.tenant_id, bytes.fromhex(file.sha256))
    return await media.send_file(
        request, runtime, key, size=file.size, mime_type=file.mime_type, shown_as=media.saved_as(file.filename)
    )


@router.post(f"{ADDRESS}/{{template_name}}/restore")
async def restore(
    request: Request,
    runtime: RuntimeDependency,
    identity: Settings,
    template_name: str,
    version: Annotated[int, Form(ge=1, le=2**31 - 1)],
) -> Response:
    """Save an earlier version as the newest one; also of a template that was out of use."""
    found = await _kept(runtime, identity, template_name, version)
    template, fields = EmailTemplate.from_json(found.source), fields_of_version(found)
    try:
        await manage_templates.save_template(
            runtime, identity.tenant_id, found.name, found.label, template, administrator_of(identity),
            attachments=fields.attachments,
        )  # fmt: skip
    except TemplateFaults as error:
        # It was good once; what templates may do has become less since.
        faults = template_faults(error.faults, fields)
        return await _show(request, runtime, identity, found, fields, faults=faults, status_code=422)
    except (TemplateFileError, BlobsUnavailableError) as error:
        faults = _file_faults(error)
        return await _show(request, runtime, identity, found, fields, faults=faults, status_code=422)
    return RedirectResponse(f"{ADDRESS}/{found.name}?done=restored", 303)


@router.post(f"{ADDRESS}/{{template_name}}/retire")
async def retire(request: Request, runtime: RuntimeDependency, identity: Settings, template_name: str) -> Response:
    """Take the template out of use."""
    kept = await _kept(runtime, identity, template_name)
    try:
        await manage_templates.retire_template(runtime, identity.tenant_id, kept.name, administrator_of(identity))
    except ChangeRefusedError as error:
        fields = fields_of_version(kept)
        return await _show(request, runtime, identity, kept, fields, mistake=said(error), status_code=409)
    return RedirectResponse(f"{ADDRESS}?done=retired", 303)


async def _check_new(
    runtime: Runtime, identity: Principal, kept: TemplateVersion | None, fields: TemplateFields
) -> dict[str, list[str]]:
    """What of name and label cannot be; a new template must not write over one that is there."""
    faults: dict[str, list[str]] = {}
    if not 1 <= len(fields.label) <= LONGEST_LABEL:
        faults["label"] = [_("Enter a label of up to %(most)s characters.", most=LONGEST_LABEL)]
    if kept is not None:
        return faults
    async with runtime.database.tenant(identity.tenant_id) as connection:
        if fields.name in RESERVED_NAMES or await mail_templates.get(connection, identity.tenant_id, fields.name):
            faults["name"] = [_("This name is already in use. Choose another one.")]
    return faults


def _file_faults(error: TemplateFileError | BlobsUnavailableError) -> dict[str, list[str]]:
    return {"attachments": [said(error) if isinstance(error, TemplateFileError) else translated(STORE_AWAY)]}


async def _framed(
    runtime: Runtime, identity: Principal, template: EmailTemplate, files: Sequence[str], *, session: str = ""
) -> Response:
    try:
        session_id = UUID(session) if session else None
        rendered = await preview_for(runtime, identity, template, session_id=session_id)
    except TemplateError as error:
        return _framed_faults([error])
    except NotFoundError as error:
        return _message(said(error), 404)
    except ValueError:
        return _message(_("Enter a conversation’s ID."), 422)
    except HTTPException as error:
        return _message(str(error.detail), error.status_code)
    return HTMLResponse(_document(rendered, files), headers=MESSAGE_HEADERS)


def _document(rendered: RenderedEmail, files: Sequence[str]) -> str:
    """The mail with its subject above it, and its plain text and its attachments below it."""
    subject = f'<p class="dgm-head">{html.escape(rendered.subject)}</p>'
    text = f'<div class="dgm-text">{html.escape(rendered.text)}</div>'
    listed = "".join(f"<li>{html.escape(one)}</li>" for one in files)
    called = html.escape(_("Attachments"))
    attached = f'<div class="dgm-files"><b>{called}</b><ul>{listed}</ul></div>' if files else ""
    return f"{_before()}{subject}{rendered.html or ''}{text}{attached}"


def _before() -> str:
    return _BEFORE.replace("<title>", f"<title>{html.escape(_('Preview'))}")


def _file_line(file: TemplateFile) -> str:
    return f"{file.filename} ({kind_of(file)}, {size(file.size)})"


def _framed_faults(faults: Sequence[TemplateError]) -> Response:
    lines = "".join(f"<li>{html.escape(_placed(one))}</li>" for one in faults)
    heading = html.escape(_("It cannot be shown yet"))
    return HTMLResponse(f'{_before()}<p class="dgm-head">{heading}</p><ul>{lines}</ul>', 422, MESSAGE_HEADERS)


def _placed(one: TemplateError) -> str:
    """What is wrong, behind the place where it is."""
    fault = translated(one.message)
    if not one.part:
        return fault
    place = {"subject": _("In the subject"), "html": _("In the HTML"), "text": _("In the text")}[one.part]
    if one.line:
        return _("%(place)s, line %(line)s: %(fault)s", place=place, line=one.line, fault=fault)
    return _("%(place)s: %(fault)s", place=place, fault=fault)


def _message(text: str, status: int) -> Response:
    return HTMLResponse(f'{_before()}<p class="dgm-head">{html.escape(text)}</p>', status, MESSAGE_HEADERS)


async def _kept(runtime: Runtime, identity: Principal, name: str, version: int | None = None) -> TemplateVersion:
    async with runtime.database.tenant(identity.tenant_id) as connection:
        found = await mail_templates.get(connection, identity.tenant_id, name.replace("\0", "")[:100], version=version)
    if found is None:
        raise NotFoundError(_("This template does not exist. Someone may have retired it."))
    return found


async def _show(
    request: Request,
    runtime: Runtime,
    identity: Principal,
    kept: TemplateVersion | None,
    fields: TemplateFields,
    *,
    faults: Mapping[str, list[str]] | None = None,
    mistake: str = "",
    status_code: int = 200,
) -> Response:
    versions: list[TemplateVersion] = []
    if kept is not None:
        async with runtime.database.tenant(identity.tenant_id) as connection:
            versions = await mail_templates.versions(connection, identity.tenant_id, kept.name)
    older: list[TemplateVersion | None] = [*versions[1:], None]
    shown = [ShownVersion(one, changes_between(before, one)) for one, before in zip(versions, older, strict=False)]
    answer = render(
        request,
        "settings/email_template.html",
        status_code=status_code,
        kept=kept,
        own=f"{ADDRESS}/{kept.name if kept else NEW}",
        fields=fields,
        files=show_files(runtime, identity.tenant_id, fields.files, kept),
        most_files=MOST_FILES,
        most_bytes=MOST_BYTES // MEGABYTE,
        most_at_once=MOST_FILE_BYTES // MEGABYTE,
        wrong={name: " ".join(each) for name, each in (faults or {}).items()},
        mistake=mistake,
        versions=shown,
        kinds={kind: KIND_WORDS[kind] for kind in KINDS},
        facts={name: FACT_WORDS[name] for name in FACTS},
        done=_DONE.get(request.query_params.get("done", ""), ""),
        address=ADDRESS,
    )
    answer.headers.update(WITH_FRAMES)
    return answer
