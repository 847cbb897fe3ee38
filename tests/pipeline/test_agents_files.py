"""Files that agents attach: their bytes decide what they are, they go out once, and the transcript keeps them."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from dragoman.domain.errors import ChangeRefusedError
from dragoman.services.handoff import own_session, write_to_contact
from dragoman.services.handoff.attach_file import MOST_BYTES, attach_file
from dragoman_shop.pictures import parcel
from tests.harness import Harness
from tests.pipeline.test_handoff import ANA, handed_over

PDF = b"%PDF-1.7\n" + b"1" * 200


async def attach(shop: Harness, session_id: UUID, content: bytes, name: str, claimed: str) -> None:
    of = (shop.runtime, shop.tenant_id, session_id)
    media = await attach_file(*of, content=content, name=name, claimed_type=claimed, caption="Here it is")
    await write_to_contact.send_answer(*of, ANA, media, request_id=uuid4())
    await shop.settle()


@pytest.mark.parametrize(
    ("content", "name", "claimed", "kind"),
    [
        (parcel(1), "parcel.png", "image/png", "image"),
        (PDF, "../../bill\u202efdp.exe", "application/x-msdownload", "document"),
        (b"MZ" + bytes(300), "harmless.png", "image/png", "document"),
    ],
    ids=["picture", "document", "no picture"],
)
async def test_an_agents_file_goes_out_as_what_it_is_and_is_kept(
    shop: Harness, content: bytes, name: str, claimed: str, kind: str
) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    await attach(shop, session_id, content, name, claimed)
    (sent,) = [entry["request"] for entry in await shop.journal() if entry["type"] == kind]
    assert sent[kind]["caption"] == "Here it is"
    if kind == "document":
        assert "\u202e" not in sent[kind]["filename"]
        assert "/" not in sent[kind]["filename"]
    (file,) = await shop.rows("SELECT state, o.size FROM media_file f JOIN media_object o USING (sha256)")
    assert (file["state"], file["size"]) == ("stored", len(content))


async def test_what_cannot_be_sent_is_said_before_anything_is_done(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    before = await shop.timeline(session_id)
    for content, said in ((b"", "The file is empty."), (bytes(MOST_BYTES + 1), "4 MB can be sent")):
        with pytest.raises(ChangeRefusedError, match=said):
            await attach(shop, session_id, content, "x.bin", "")
    assert await shop.timeline(session_id) == before
