"""The attachments of an email template in its form: those that it carries along, and those that came with it.

A file is kept as soon as it has come, and the form carries what names it: what is wrong elsewhere in the form does not
cost the upload. What the browser sends of it is believed only with its proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from fastapi import UploadFile
from starlette.datastructures import FormData

from dragoman.domain.media_types import safe_filename
from dragoman.runtime import Runtime
from dragoman.services.automation.template_files import (
    TemplateFile,
    TemplateFileError,
    check_sizes,
    is_proven,
    keep_upload,
    proof_of,
)
from dragoman.store.automation.mail_templates import TemplateVersion
from dragoman.store.blobs import BlobsUnavailableError
from dragoman.translations import deferred, translated
from dragoman.translations import gettext as _
from dragoman.web.console.page import said
from dragoman.web.console.template_fields import FileRow

STORE_AWAY = deferred("The media store cannot be reached right now. Try again in a few seconds.")
UNPROVEN = deferred("One of the files was not uploaded here. Add it again.")

_FAMILIES = {
    "image": deferred("Image"),
    "audio": deferred("Audio"),
    "video": deferred("Video"),
    "text": deferred("Text"),
}
_KINDS = {"application/pdf": "PDF", "application/zip": deferred("ZIP archive")}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFile:
    """A file as the form shows it: ``carried`` is what the form sends back, ``number`` its place among the saved ones.

    One that is not saved yet has no number.
    """

    row: FileRow
    carried: str
    kind: str
    number: int | None


def show_files(
    runtime: Runtime, tenant_id: UUID, rows: Iterable[FileRow], kept: TemplateVersion | None
) -> list[ShownFile]:
    """Make *rows* ready to be shown beside the version *kept*."""
    saved = list(map(TemplateFile.from_json, kept.attachments)) if kept else []
    return [
        ShownFile(
            row=row, carried=_carried(runtime, tenant_id, row.file), kind=kind_of(row.file),
            number=saved.index(row.file) if row.file in saved else None,
        )
        for row in rows
    ]  # fmt: skip


def read_files(runtime: Runtime, tenant_id: UUID, form: FormData) -> tuple[tuple[FileRow, ...], list[str]]:
    """The files that the form carries along; and what is wrong with them, in sentences."""
    left_out = set(form.getlist("left_out"))
    rows: list[FileRow] = []
    trouble: list[str] = []
    for number, carried in enumerate(form.getlist("attachment")):
        file = _proven(runtime, tenant_id, str(carried))
        if file is not None:
            rows.append(FileRow(file=file, is_left_out=str(number) in left_out))
        elif not trouble:
            trouble.append(translated(UNPROVEN))
    return tuple(rows), trouble


async def take_files(
    runtime: Runtime, tenant_id: UUID, form: FormData, uploads: Sequence[UploadFile]
) -> tuple[tuple[FileRow, ...], list[str]]:
    """The same with those that came with the form, which are kept from now on."""
    carried, trouble = read_files(runtime, tenant_id, form)
    rows = list(carried)
    for upload in uploads:
        # A field in which nothing was chosen comes as a file without a name.
        if not upload.filename:
            continue
        content = await upload.read()
        sizes = [row.file.size for row in rows if not row.is_left_out]
        try:
            check_sizes([*sizes, len(content)])
            file = await keep_upload(
                runtime, tenant_id, content=content, name=upload.filename, claimed_type=upload.content_type or ""
            )
        except TemplateFileError as error:
            trouble.append(said(error))
        except BlobsUnavailableError:
            trouble.append(translated(STORE_AWAY))
        else:
            if FileRow(file=file) not in rows:
                rows.append(FileRow(file=file))
    return tuple(rows), list(dict.fromkeys(trouble))


def kind_of(file: TemplateFile) -> str:
    """What kind of file it is, in words."""
    extension = file.filename.rpartition(".")[2] if "." in file.filename else ""
    if called := _KINDS.get(file.mime_type) or _FAMILIES.get(file.mime_type.partition("/")[0]):
        return translated(called)
    if len(extension) <= 5 and extension.isalnum():
        return _("%(format)s file", format=extension.upper())
    return _("File")


def _carried(runtime: Runtime, tenant_id: UUID, file: TemplateFile) -> str:
    return f"{proof_of(runtime, tenant_id, file)} {file.sha256} {file.size} {file.mime_type} {file.filename}"


def _proven(runtime: Runtime, tenant_id: UUID, carried: str) -> TemplateFile | None:
    proof, *parts = carried.split(" ", 4)
    if len(parts) != 4 or not (parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) <= 12):
        return None
    filename = safe_filename(parts[3], otherwise="file")
    file = TemplateFile(filename=filename, mime_type=parts[2], size=int(parts[1]), sha256=parts[0])
    return file if is_proven(runtime, tenant_id, file, proof) else None
