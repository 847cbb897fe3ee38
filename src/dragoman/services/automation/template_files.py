"""Files that go with the mails of a template: kept when they are uploaded, and named by the versions that send them.

A digest alone opens nothing: the media store has contacts' files as well, and whoever has seen one may know its digest.
So who names a file shows, by the proof that the upload answered with, that it was uploaded for mails of this tenant.

Transactions: one for each upload, in which the content is written down. One that no version names in the end is found
and deleted as all such contents are. Whoever saves a version holds its files in their own transaction.
"""

from __future__ import annotations

import dataclasses
import hmac
import json
import mimetypes
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self
from uuid import UUID

from dragoman.domain.errors import ChangeRefusedError
from dragoman.domain.media_types import BY_NAME, EXTENSIONS, HEAD_BYTES, TAIL_BYTES, UNKNOWN, look, safe_filename
from dragoman.runtime import Runtime
from dragoman.services.media.keep_file import keep_file
from dragoman.store import media
from dragoman.store.blobs import BlobKey
from dragoman.store.database import Connection

MEGABYTE = 1_000_000

MOST_FILES = 10
MOST_FILE_BYTES = 4 * MEGABYTE
"""Of one file, and of all that come with one request: less than what a request of the console may have."""
MOST_BYTES = 10 * MEGABYTE
"""Of all files of a template. In a mail they are a third larger, and many servers take no more than 20 MB."""

_PURPOSE = "file of a mail template"
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,49}/[a-z0-9!#$&^_.+-]{1,50}")


class TemplateFileError(ChangeRefusedError):
    """A file cannot go with the mails of a template; ``number`` says which of those that were named, from 0."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.number = number


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TemplateFile:
    """Names a file of the media store by its SHA-256, in hex, and says what it is called in a mail."""

    filename: str
    mime_type: str
    size: int
    sha256: str

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        """Describe it as a version of a template has it."""
        return dataclasses.asdict(self)


async def keep_upload(
    runtime: Runtime, tenant_id: UUID, *, content: bytes, name: str, claimed_type: str = ""
) -> TemplateFile:
    """Keep *content*, which was uploaded as *name*, for a version that is going to name it.

    Raises TemplateFileError, BlobsUnavailableError.
    """
    filename = safe_filename(name, otherwise="file")
    if not content:
        raise TemplateFileError(f"{filename} is empty.")
    if len(content) > MOST_FILE_BYTES:
        raise TemplateFileError(f"{filename} has more than {MOST_FILE_BYTES // MEGABYTE} MB.")
    found = look(content[:HEAD_BYTES], content[-TAIL_BYTES:])
    sha256 = await keep_file(runtime, tenant_id, content, found)
    mime_type = _type(found.mime_type, filename, claimed_type.lower())
    return TemplateFile(filename=filename, mime_type=mime_type, size=len(content), sha256=sha256)


def proof_of(runtime: Runtime, tenant_id: UUID, file: TemplateFile) -> str:
    """What shows that the file was uploaded for mails of this tenant; it may be called something else since."""
    said = json.dumps([str(tenant_id), file.sha256, file.size, file.mime_type])
    return runtime.keyring.digest(_PURPOSE, said.encode()).hex()


def is_proven(runtime: Runtime, tenant_id: UUID, file: TemplateFile, proof: str) -> bool:
    """Whether *proof* is that of the file."""
    return hmac.compare_digest(proof_of(runtime, tenant_id, file).encode(), proof.encode(errors="replace"))


def check_sizes(sizes: Sequence[int]) -> None:
    """Refuse files of so many bytes each, where they are too much for one mail. Raises TemplateFileError."""
    if len(sizes) > MOST_FILES:
        raise TemplateFileError(f"No more than {MOST_FILES} files can go with a mail.")
    if sum(sizes) > MOST_BYTES:
        raise TemplateFileError(f"The files of a mail cannot have more than {MOST_BYTES // MEGABYTE} MB together.")


async def hold_files(runtime: Runtime, connection: Connection, tenant_id: UUID, files: Sequence[TemplateFile]) -> None:
    """See that the files are there, and keep them from being deleted until the transaction ends.

    Raises TemplateFileError, BlobsUnavailableError.
    """
    # In one order, as whoever else locks several does.
    for number, file in sorted(enumerate(files), key=lambda each: each[1].sha256):
        sha256 = bytes.fromhex(file.sha256)
        is_known = await media.lock_object(connection, tenant_id, sha256)
        if not is_known or not await runtime.blobs.has(BlobKey(tenant_id, sha256)):
            raise TemplateFileError(
                f"{file.filename} is not there any more: a file that is not saved is kept for an hour. "
                "Take it off, or add it again.", number,
            )  # fmt: skip


def _type(found: str, filename: str, claimed: str) -> str:
    """What the file is: by its bytes, and where these say little by what its sender or its name says."""
    if found not in BY_NAME:
        return found
    guessed, encoding = mimetypes.guess_type(filename)
    by_name = guessed if guessed and not encoding else UNKNOWN
    said = claimed if _TYPE.fullmatch(claimed) and claimed != UNKNOWN else by_name
    # The bytes would have proved it, and did not.
    return found if said == UNKNOWN or said in EXTENSIONS else said
