"""Files that go with a template's mails: uploaded, saved, sent, and kept for as long as a version has them."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from dragoman.domain.media_types import UNKNOWN
from dragoman.rendering.templates import EmailTemplate
from dragoman.services import sweep
from dragoman.services.automation import manage_templates
from dragoman.services.automation.fire_triggers import fire_by_request
from dragoman.services.automation.manage_templates import save_template
from dragoman.services.automation.template_files import (
    MOST_BYTES,
    MOST_FILE_BYTES,
    MOST_FILES,
    TemplateFile,
    TemplateFileError,
    is_proven,
    keep_upload,
    proof_of,
)
from dragoman.services.media import erase_media
from dragoman.store.blobs import BlobKey
from dragoman.store.media import SentFile, insert_sent
from tests.harness import Harness
from tests.mail_server import mail_server
from tests.pipeline.test_triggers import ADMIN, TEMPLATE, furnish

PDF = b"%PDF-1.7\nprices"
ON_REQUEST = {
    "name": "prices",
    "label": "Send the prices",
    "when": {"event": "request", "payload": {"email": "email"}},
    "to": [{"payload": "email"}],
    "send": {"channel": "email", "template": "news"},
}


async def upload(shop: Harness, content: bytes = PDF, name: str = "Preisliste für März.pdf") -> TemplateFile:
    return await keep_upload(shop.runtime, shop.tenant_id, content=content, name=name)


async def save(shop: Harness, *files: TemplateFile, template: EmailTemplate = TEMPLATE) -> int:
    return await save_template(shop.runtime, shop.tenant_id, "news", "News", template, ADMIN, attachments=files)


async def is_kept(shop: Harness, file: TemplateFile) -> bool:
    return await shop.runtime.blobs.has(BlobKey(shop.tenant_id, bytes.fromhex(file.sha256)))


async def test_a_mail_has_the_files_of_its_template_under_their_names(shop: Harness) -> None:
    async with mail_server() as server:
        await furnish(shop, ON_REQUEST, smtp_url=server.url)
        file, other = await upload(shop), await upload(shop, b"Hello\n", "hello.txt")
        assert await save(shop, file, other) == 2
        assert await save(shop, file, other) == 2, "nothing is different"
        await fire_by_request(shop.runtime, shop.tenant_id, "prices", {"email": "bo@example.org"}, request_id="1")
        await shop.settle()
        (received,) = await server.receive(1)
    found = [
        (part.get_filename(), part.get_content_type(), part.get_payload(decode=True))
        for part in received.message.iter_attachments()
    ]
    assert found == [("Preisliste für März.pdf", "application/pdf", PDF), ("hello.txt", "text/plain", b"Hello\n")]
    (entry,) = await shop.rows("SELECT email FROM outbox_entry")
    assert entry["email"]["attachments"] == [file.to_json(), other.to_json()]


@pytest.mark.parametrize(
    ("content", "name", "claimed", "mime_type"),
    [
        (PDF, "a.txt", "text/plain", "application/pdf"),
        (b"PK\x03\x04", "a.docx", "application/vnd.oasis.opendocument.text", "application/vnd.oasis.opendocument.text"),
        (b"PK\x03\x04", "a", "", "application/zip"),
        (b"a,b\n", "a.csv", "", "text/csv"),
        (b"a,b\n", "a.csv", UNKNOWN, "text/csv"),
        (b"a,b\n", "a.png", "image/png", UNKNOWN),
        (b"a,b\n", "a.png", "", UNKNOWN),
        (b"a,b\n", "a", "text/x; charset=\r\nX: y", UNKNOWN),
        (b"\x1f\x8b", "a.tar.gz", "", UNKNOWN),
    ],
)
async def test_what_a_file_is_its_bytes_decide_before_what_is_said_of_it(
    shop: Harness, content: bytes, name: str, claimed: str, mime_type: str
) -> None:
    file = await keep_upload(shop.runtime, shop.tenant_id, content=content, name=name, claimed_type=claimed)
    assert (file.mime_type, file.filename, file.size) == (mime_type, name, len(content))


async def test_a_file_that_cannot_go_with_a_mail_is_refused(shop: Harness) -> None:
    with pytest.raises(TemplateFileError, match=r"^etc_passwd is empty\.$"):
        await upload(shop, b"", "../etc/passwd")
    with pytest.raises(TemplateFileError, match=r"^a has more than 4 MB\.$"):
        await upload(shop, b"x" * (MOST_FILE_BYTES + 1), "a")
    file = await upload(shop)
    with pytest.raises(TemplateFileError, match="No more than 10 files"):
        await save(shop, *[file] * (MOST_FILES + 1))
    with pytest.raises(TemplateFileError, match="more than 10 MB together"):
        await save(shop, *[replace(file, size=MOST_BYTES // 2)] * 3)
    with pytest.raises(TemplateFileError, match="not there any more") as refused:
        await save(shop, file, replace(file, sha256="0" * 64))
    assert refused.value.number == 1
    assert await shop.rows("SELECT 1 FROM email_template") == []


async def test_a_proof_is_for_one_file_of_one_tenant(shop: Harness) -> None:
    file = await upload(shop)
    proof = proof_of(shop.runtime, shop.tenant_id, file)
    assert is_proven(shop.runtime, shop.tenant_id, file, proof)
    assert is_proven(shop.runtime, shop.tenant_id, replace(file, filename="prices.pdf"), proof)
    assert not is_proven(shop.runtime, uuid4(), file, proof)
    for other in (replace(file, sha256="0" * 64), replace(file, size=1), replace(file, mime_type="text/html")):
        assert not is_proven(shop.runtime, shop.tenant_id, other, proof)
    for wrong in ("", "0" * 64, "é", "\ud800"):
        assert not is_proven(shop.runtime, shop.tenant_id, file, wrong)


async def test_an_upload_that_is_not_saved_is_swept_up_and_one_of_any_version_stays(shop: Harness) -> None:
    saved, left = await upload(shop), await upload(shop, b"never saved", "a.txt")
    await save(shop, saved)
    await save(shop)
    await sweep.clean_up(shop.runtime)
    assert (await is_kept(shop, saved), await is_kept(shop, left)) == (True, True)
    shop.clock.move(hours=2)
    await sweep.clean_up(shop.runtime)
    assert (await is_kept(shop, saved), await is_kept(shop, left)) == (True, False)
    with pytest.raises(TemplateFileError, match=r"a\.txt is not there any more"):
        await save(shop, saved, left)
    await manage_templates.retire_template(shop.runtime, shop.tenant_id, "news", ADMIN)
    shop.clock.move(hours=2)
    await sweep.clean_up(shop.runtime)
    assert await is_kept(shop, saved), "what was sent with it can be sent again"


async def test_the_same_file_of_a_message_is_erased_without_the_templates(shop: Harness) -> None:
    file, other = await upload(shop), await upload(shop, b"a contact's alone", "a.txt")
    await save(shop, file)
    (account,) = await shop.rows("SELECT channel_account_id FROM channel_account")
    messages = [uuid4(), uuid4()]
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        sent = [
            SentFile(
                message_id=message_id, channel_account_id=account["channel_account_id"],
                sha256=bytes.fromhex(one.sha256),
            )
            for message_id, one in zip(messages, (file, other), strict=True)
        ]  # fmt: skip
        await insert_sent(connection, shop.tenant_id, sent, now=shop.clock.now())
    erased = await erase_media.erase_messages(shop.runtime, shop.tenant_id, messages, reason="asked")
    assert (erased.files, erased.contents) == (2, 1)
    assert (await is_kept(shop, file), await is_kept(shop, other)) == (True, False)
