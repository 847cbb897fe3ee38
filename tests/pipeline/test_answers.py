"""Skills and flows answer with all that the channel sends: what may go goes whole, what may not is told before."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from dragoman.domain.flow_form import flow_from_json
from dragoman.domain.media_types import look
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.channels.synchronise_templates import fetch_templates
from dragoman.services.dispatching import handle_inbound
from dragoman.services.dispatching.check_messages import check_messages
from dragoman.services.inbound.accept_email import accept_email
from dragoman.services.media.erase_media import STRAY_AFTER, erase_orphaned_blobs
from dragoman.services.media.keep_file import keep_file, read_file
from dragoman.skills import (
    THIS,
    ContactCard,
    React,
    Reply,
    SendContacts,
    SendLocation,
    SendMedia,
    SendTemplate,
    SkillAnswer,
    SkillContext,
    skill,
)
from dragoman.skills.python import PythonSkill, SomeReply
from dragoman.store.accounts.actions import COMMAND_LINE
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.store.blobs.local import LocalBlobs
from dragoman.store.catalogue import flows
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.database import Database
from dragoman.web.console.query import ADDRESS
from dragoman_shop.pictures import parcel
from tests import harness
from tests.harness import Harness
from tests.pipeline.test_channels import enter, plain
from tests.pipeline.test_email_channel import MAILBOX, mail
from tests.pipeline.test_templates import definition, has

PHONE = "436601112233"
PDF = b"%PDF-1.7\n" + b"1" * 300
WEBP = b"RIFF\x00\x01\x00\x00WEBPVP8 " + bytes(200)
OGG = b"OggS\x00" + bytes(100)

Making = Callable[[SkillContext], Sequence[SomeReply]]
Built = Callable[[Making], Any]


def answering(make: Making) -> PythonSkill:
    @skill(name="demo.answer", label="Answer", version="1", phrases={"en": ["answer me"]}, keywords=["answer"])
    async def answer(context: SkillContext) -> SkillAnswer:
        return SkillAnswer(replies=make(context))

    return answer


@pytest.fixture
def built(database: Database, tmp_path: Path) -> Built:
    @asynccontextmanager
    async def build(make: Making) -> AsyncIterator[Harness]:
        made = answering(make)
        async with harness.build(database, tmp_path, {made.spec.name: made}) as shop:
            yield shop

    return build


async def ask(shop: Harness, text: str = "answer") -> list[dict[str, Any]]:
    """What reaches the phone when the contact asks."""
    await shop.say(text)
    await shop.settle()
    return [entry["request"] for entry in await shop.journal(to=PHONE)]


async def outcome(shop: Harness) -> tuple[str, str]:
    (row,) = await shop.rows("SELECT outcome, outcome_reason FROM session")
    return row["outcome"], row["outcome_reason"]


CARD = ContactCard(
    name="Ada Huber", phones=("+43 1 5550100",), emails=("ada@shop.example",), organisation="Shop",
    department="Service", title="Lead", addresses=("Ring 1, Wien",), urls=("https://shop.example",),
    birthday="1990-01-31",
)  # fmt: skip

SENT: list[tuple[SomeReply, str, Any]] = [
    (
        SendLocation(latitude=48.2, longitude=16, name="Shop", address="Ring 1"),
        "location",
        {"latitude": 48.2, "longitude": 16.0, "name": "Shop", "address": "Ring 1"},
    ),
    (
        SendContacts([CARD]),
        "contacts",
        [
            {
                "name": {"formatted_name": "Ada Huber", "first_name": "Ada"},
                "phones": [{"phone": "+43 1 5550100"}],
                "emails": [{"email": "ada@shop.example"}],
                "org": {"company": "Shop", "department": "Service", "title": "Lead"},
                "addresses": [{"street": "Ring 1, Wien"}],
                "urls": [{"url": "https://shop.example"}],
                "birthday": "1990-01-31",
            }
        ],
    ),
    (
        SendMedia(media="image", link="https://shop.example/a.png", caption="Look"),
        "image",
        {"link": "https://shop.example/a.png", "caption": "Look"},
    ),
    (
        SendMedia(media="document", link="https://shop.example/a.pdf", filename="a.pdf"),
        "document",
        {"link": "https://shop.example/a.pdf", "filename": "a.pdf"},
    ),
]


@pytest.mark.parametrize(("reply", "kind", "expected"), SENT, ids=["place", "cards", "image by link", "document"])
async def test_what_a_skill_sends_beside_words_goes_out(
    built: Built, reply: SomeReply, kind: str, expected: Any
) -> None:
    async with built(lambda _: [reply]) as shop:
        (sent,) = await ask(shop)
        assert (sent["type"], sent[kind]) == (kind, expected)
        assert (await outcome(shop))[0] == "SUCCESS"
        assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


@pytest.mark.parametrize(
    ("media", "file", "name", "mime_type"),
    [
        ("document", PDF, "invoice.pdf", "application/pdf"),
        ("image", parcel(1), None, "image/png"),
        ("sticker", WEBP, None, "image/webp"),
        ("voice", OGG, None, "audio/ogg"),
        ("document", b"PK\x03\x04" + bytes(90), "list.xlsx",
         "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("document", b"plain words", "notes.txt", "text/plain"),
    ],
)  # fmt: skip
async def test_a_file_of_a_skill_is_kept_uploaded_and_sent(
    built: Built, media: Any, file: bytes, name: str | None, mime_type: str
) -> None:
    async with built(lambda _: [SendMedia(media=media, file=file, filename=name)]) as shop:
        (sent,) = await ask(shop)
        kind = "audio" if media == "voice" else media
        body = sent[kind]
        assert (sent["type"], body.get("filename"), body.get("voice")) == (
            kind,
            name,
            True if media == "voice" else None,
        )
        assert shop.standin.files.get(body["id"]).content == file
        (row,) = await shop.rows(
            "SELECT f.state, o.sha256, o.mime_type FROM media_file f JOIN media_object o USING (sha256)"
        )
        assert (row["state"], row["sha256"], row["mime_type"]) == ("stored", hashlib.sha256(file).digest(), mime_type)
        (item,) = await shop.rows("SELECT content FROM message WHERE sender = 'bot'")
        assert item["content"]["sha256"] == hashlib.sha256(file).hexdigest()


class _UploadsFail(httpx.AsyncBaseTransport):
    """Meta's side, which does not take files for a while."""

    def __init__(self, inner: httpx.AsyncBaseTransport, times: int, answer: httpx.Response | None = None) -> None:
        self.inner, self.left, self.answer = inner, times, answer

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/media") and self.left:
            self.left -= 1
            if self.answer is None:
                raise httpx.ReadError("the connection broke", request=request)
            return self.answer
        return await self.inner.handle_async_request(request)


def uploads_fail(shop: Harness, times: int, answer: httpx.Response | None = None) -> None:
    hosts = shop.runtime.http._transport.hosts  # type: ignore[attr-defined]
    hosts["graph.test"] = _UploadsFail(hosts["graph.test"], times, answer)


async def test_a_file_that_cannot_be_uploaded_yet_is_tried_again_and_goes_once(built: Built) -> None:
    async with built(lambda _: [SendMedia(media="document", file=PDF, filename="a.pdf"), "Here it is."]) as shop:
        uploads_fail(shop, 2)
        assert await ask(shop) == []
        for _ in range(3):
            shop.clock.move(seconds=120)
            await shop.settle()
        sent = [entry["request"] for entry in await shop.journal(to=PHONE)]
        assert [one["type"] for one in sent] == ["document", "text"]
        assert (await outcome(shop))[0] == "SUCCESS"


async def test_a_file_that_meta_refuses_has_failed_on_the_timeline(built: Built) -> None:
    async with built(lambda _: [SendMedia(media="document", file=PDF, filename="a.pdf"), "Here it is."]) as shop:
        error = {"error": {"code": 100, "message": "(#100) Param file must be a file with one of the following types"}}
        uploads_fail(shop, 1, httpx.Response(400, json=error))
        sent = await ask(shop)
        assert [one["type"] for one in sent] == ["text"]
        (session,) = await shop.rows("SELECT session_id FROM session")
        failed = [
            e["payload"] for e in await shop.timeline(session["session_id"]) if e["payload"].get("status") == "failed"
        ]
        assert "Param file" in failed[0]["reason"]


async def test_a_reaction_and_a_reply_are_about_the_message_that_is_answered(built: Built) -> None:
    async with built(lambda _: [React("👍"), Reply("As you say.", reply_to=THIS), SendLocation(
        latitude=1, longitude=2, reply_to=THIS)]) as shop:  # fmt: skip
        wamid = await shop.say("answer")
        await shop.settle()
        reaction, text, place = [entry["request"] for entry in await shop.journal(to=PHONE)]
        assert reaction["reaction"] == {"message_id": wamid, "emoji": "👍"}
        assert "context" not in reaction
        assert (text["context"], place["context"]) == ({"message_id": wamid}, {"message_id": wamid})


async def test_a_long_reply_quotes_with_its_first_part(built: Built) -> None:
    async with built(lambda _: [Reply("A sentence of it. " * 400, reply_to=THIS)]) as shop:
        first, *others = await ask(shop)
        assert "context" in first
        assert others
        assert not any("context" in one for one in others)


async def test_a_message_is_named_by_its_id_where_it_is_one_of_the_conversation(built: Built) -> None:
    named: list[str] = []
    async with built(lambda _: [React("🙏", message=named[0] if named else THIS), Reply(
        "That one.", reply_to=named[-1] if named else None)]) as shop:  # fmt: skip
        wamid = await shop.say("answer")
        await shop.settle()
        ours = next(entry["wamid"] for entry in await shop.journal(to=PHONE) if entry["type"] == "text")
        named += [wamid, ours]
        await shop.say("answer once more")
        await shop.settle()
        reaction, text = [entry["request"] for entry in await shop.journal(to=PHONE)][-2:]
        assert (reaction["reaction"]["message_id"], text["context"]["message_id"]) == (wamid, ours)


REFUSED: list[tuple[SomeReply, str]] = [
    (Reply("x", reply_to="wamid.ELSEWHERE"), "no message of this conversation"),
    (React("👍", message="wamid.ELSEWHERE"), "no message of this conversation"),
    (React("good"), "one emoji"),
    (React("👍👍"), "one emoji"),
    (SendLocation(latitude=91, longitude=0), "latitude"),
    (SendLocation(latitude=float("nan"), longitude=0), "latitude"),
    (SendContacts([]), "contacts"),
    (SendContacts([ContactCard(name="A", birthday="31.1.1990")]), "YYYY-MM-DD"),
    (SendMedia(media="image"), "by one of these"),
    (SendMedia(media="image", link="https://a.example/x.png", media_id="7"), "by one of these"),
    (SendMedia(media="image", link="http://a.example/x.png"), "https://"),
    (SendMedia(media="sticker", link="https://a.example/x.webp", caption="x"), "no caption"),
    (SendMedia(media="image", link="https://a.example/x.png", caption="x" * 1025), "caption"),
    (SendMedia(media="image", file=PDF), "the file is application/pdf"),
    (SendMedia(media="document", file=b"MZ" + bytes(90), filename="a.exe"), "document is"),
    (SendMedia(media="sticker", file=WEBP + bytes(101 * 1024)), "sticker may have"),
    (SendMedia(media="document", file=b""), "bytes"),
    (SendMedia(media="smell", link="https://a.example/x"), "media.type"),  # type: ignore[arg-type]
    (SendTemplate("reminder", {"body.1": "x"}), "has no template reminder"),
]


@pytest.mark.parametrize(("reply", "says"), REFUSED)
async def test_what_would_be_refused_is_the_skills_failure_and_nothing_is_dropped(
    built: Built, reply: SomeReply, says: str
) -> None:
    """Nothing of the answer is sent, the timeline says why, and the contact gets the usual sentence."""
    async with built(lambda _: ["Look at this.", reply]) as shop:
        (sent,) = await ask(shop)
        assert "klappt im Moment leider nicht" in sent["text"]["body"]
        kind, reason = await outcome(shop)
        assert (kind, says in reason) == ("SKILL_ERROR", True), reason
        (session,) = await shop.rows("SELECT session_id FROM session")
        failed = [e["payload"] for e in await shop.timeline(session["session_id"]) if e["type"] == "skill.failed"]
        assert [(one["retryable"], says in one["message"]) for one in failed] == [(False, True)]


async def templates_of(shop: Harness, *given: dict[str, Any]) -> None:
    has(shop, list(given))
    await fetch_templates(shop.runtime, shop.tenant_id, shop.channel_account_id, COMMAND_LINE)


async def test_a_template_is_filled_in_and_its_category_known(built: Built) -> None:
    async with built(lambda _: [SendTemplate("reminder", {"body.1": "Ana"})]) as shop:
        await templates_of(shop, definition("reminder"), definition("reminder", "pt_BR"))
        (sent,) = await ask(shop)
        assert sent["template"]["name"] == "reminder"
        assert sent["template"]["components"] == [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]
        (row,) = await shop.rows("SELECT content FROM message WHERE sender = 'bot'")
        assert (row["content"]["rendered"], row["content"]["category"]) == ("Hello Ana", "utility")


@pytest.mark.parametrize(
    ("values", "language", "says"),
    [
        ({}, None, "body.1: This is to be filled in"),
        ({"body.1": "a\nb"}, None, "no line breaks"),
        ({"body.1": "Ana"}, "fr", "has no template reminder in fr"),
    ],
)
async def test_a_template_that_cannot_be_filled_in_is_a_failure(
    built: Built, values: dict[str, str], language: str | None, says: str
) -> None:
    async with built(lambda _: [SendTemplate("reminder", values, language)]) as shop:
        await templates_of(shop, definition("reminder"))
        await ask(shop)
        assert says in (await outcome(shop))[1]


async def test_no_marketing_to_those_who_do_not_want_it(built: Built) -> None:
    async with built(lambda _: [SendTemplate("sale", {"body.1": "Ana"})]) as shop:
        await templates_of(shop, definition("sale", category="MARKETING"))
        assert [one["type"] for one in await ask(shop)] == ["template"]
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await connection.execute("UPDATE contact SET marketing_stopped_at = $1", shop.clock.now())
        await ask(shop)
        assert "is marketing. The contact stopped" in (await outcome(shop))[1]


async def test_where_the_window_has_closed_only_a_template_goes(built: Built) -> None:
    replies: list[SomeReply] = [SendLocation(latitude=1, longitude=2)]
    async with built(lambda _: replies) as shop:
        await templates_of(shop, definition("reminder"))
        await shop.say("answer")
        shop.clock.move(hours=25)
        await shop.settle()
        assert "Needs a template" in (await outcome(shop))[1]
        replies[:] = [SendTemplate("reminder", {"body.1": "Ana"})]
        await shop.say("answer")
        shop.clock.move(hours=25)
        await shop.settle()
        assert [entry["type"] for entry in await shop.journal(to=PHONE)][-1] == "template"


async def test_a_media_store_that_is_away_is_tried_again(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    put, failed = LocalBlobs.put, list[Any]()

    async def away_once(self: LocalBlobs, key: Any, file: Path) -> None:
        if not failed:
            failed.append(key)
            raise BlobsUnavailableError("no disk")
        await put(self, key, file)

    monkeypatch.setattr(LocalBlobs, "put", away_once)
    async with built(lambda _: [SendMedia(media="document", file=PDF, filename="a.pdf")]) as shop:
        assert [one["type"] for one in await ask(shop)] == ["document"]
        (session,) = await shop.rows("SELECT session_id FROM session")
        kinds = [e["type"] for e in await shop.timeline(session["session_id"])]
        assert kinds.count("skill.failed") == kinds.count("skill.retry_scheduled") == 1


FLOW: dict[str, Any] = {
    "flow": "demo.visit",
    "label": "Visit",
    "keywords": ["visit"],
    "variables": [
        {"variable": "code", "type": "text", "default": "a b/ü"},
        {"variable": "north", "type": "number", "default": 48.2},
    ],
    "steps": [
        {"step": "a", "type": "message", "reaction": "👍", "next": "b"},
        {"step": "b", "type": "message", "text": {"en": "Noted."}, "reply": True, "next": "c"},
        {
            "step": "c", "type": "message", "next": "d", "reply": True,
            "location": {"latitude": {"variable": "north"}, "longitude": 16.37, "name": "Shop {code}"},
        },
        {
            "step": "d", "type": "message", "next": "e", "text": {"en": "Your ticket {code}"},
            "media": {"type": "document", "link": "https://shop.example/{code}.pdf", "filename": "ticket.pdf"},
        },
        {"step": "e", "type": "message", "contacts": [{"name": "Service", "phones": ["+43 1 5550100"]}], "next": "f"},
        {
            "step": "f", "type": "message", "text": {"en": "More?"}, "next": "g",
            "link": {"url": "https://shop.example/?c={code}", "titles": {"en": "Open"}},
        },
        {
            "step": "g", "type": "message", "text": {"en": "Or"}, "next": "h",
            "options": [{"id": "agent", "titles": {"en": "A person"}}],
        },
        {"step": "h", "type": "message", "text": {"en": "Where are you?"}, "request": "location", "next": "i"},
        {"step": "i", "type": "message", "template": {"name": "reminder", "values": {"body.1": "{code}"}}, "next": "z"},
        {"step": "z", "type": "end"},
    ],
}  # fmt: skip


async def import_steps(shop: Harness, definition_: dict[str, Any]) -> None:
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await flows.save_version(connection, shop.tenant_id, flow_from_json(definition_), now=shop.clock.now())


async def test_steps_of_a_flow_send_all_of_it(built: Built) -> None:
    async with built(lambda _: ["x"]) as shop:
        await templates_of(shop, definition("reminder"))
        await import_steps(shop, FLOW)
        wamid = await shop.say("visit")
        await shop.settle()
        sent = [entry["request"] for entry in await shop.journal(to=PHONE)]
        assert [one["type"] for one in sent] == [
            *("reaction", "text", "location", "document", "contacts"),
            *(["interactive"] * 3),
            "template",
        ]
        assert sent[0]["reaction"]["message_id"] == sent[1]["context"]["message_id"] == wamid
        assert sent[2]["location"] == {"latitude": 48.2, "longitude": 16.37, "name": "Shop a b/ü"}
        assert sent[3]["document"] == {
            "link": "https://shop.example/a%20b%2F%C3%BC.pdf", "caption": "Your ticket a b/ü", "filename": "ticket.pdf",
        }  # fmt: skip
        assert [one["interactive"]["type"] for one in sent[5:8]] == ["cta_url", "button", "location_request_message"]
        assert (await outcome(shop))[0] == "SUCCESS"


async def test_a_step_that_cannot_be_sent_fails_the_flow_there(built: Built) -> None:
    async with built(lambda _: ["x"]) as shop:
        await import_steps(shop, FLOW)
        sent = await ask(shop, "visit")
        assert "klappt im Moment leider nicht" in sent[-1]["text"]["body"]
        kind, reason = await outcome(shop)
        assert (kind, "failed at its step i" in reason, "no template reminder" in reason) == (
            "PARTIAL_FLOW_FAILURE", True, True,
        )  # fmt: skip


async def test_by_mail_a_place_is_said_in_words_and_a_template_is_the_skills_fault(built: Built) -> None:
    replies: list[SomeReply] = [SendLocation(latitude=1, longitude=2, name="Shop"), React("👍")]
    async with built(lambda _: replies) as shop:
        mailbox = ChannelAccount(
            channel_account_id=shop.runtime.source.new_id(), channel="email", address=MAILBOX, display=MAILBOX,
            name="Help", secrets=shop.runtime.keyring.encrypt(b"{}"),
        )  # fmt: skip
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await channel_accounts.add(connection, shop.tenant_id, mailbox, waba_id=None, now=shop.clock.now())
        for number, said in enumerate((["Shop", "👍"], ["not working"])):
            message = mail("answer", f"{number}@example.org")
            await accept_email(shop.runtime, shop.tenant_id, mailbox.channel_account_id, message.as_bytes())
            await shop.settle()
            bodies = [
                row["content"]["body"] for row in await shop.rows("SELECT content FROM outbox_entry ORDER BY sequence")
            ]
            assert all(any(words in body for body in bodies) for words in said), bodies
            replies[:] = [SendTemplate("reminder", {"body.1": "x"})]


async def test_a_file_that_was_erased_before_it_went_fails_its_message(built: Built) -> None:
    async with built(lambda _: [SendMedia(media="document", file=PDF, filename="a.pdf")]) as shop:
        uploads_fail(shop, 1)
        await ask(shop)
        await shop.runtime.blobs.delete(BlobKey(shop.tenant_id, hashlib.sha256(PDF).digest()))
        shop.clock.move(seconds=120)
        await shop.settle()
        (entry,) = await shop.rows("SELECT status, reason FROM outbox_entry")
        assert (entry["status"], "erased before it could be sent" in entry["reason"]) == ("FAILED", True)


async def test_a_file_that_no_message_refers_to_in_the_end_is_deleted(built: Built) -> None:
    """What a worker leaves that dies after the file was kept, and before the turn was written."""
    async with built(lambda _: ["x"]) as shop:
        sha256 = await keep_file(shop.runtime, shop.tenant_id, PDF, look(PDF))
        assert await read_file(shop.runtime, shop.tenant_id, sha256) == PDF
        shop.clock.move(seconds=STRAY_AFTER.total_seconds() + 1)
        await erase_orphaned_blobs(shop.runtime, shop.tenant_id)
        assert await read_file(shop.runtime, shop.tenant_id, sha256) is None


async def test_what_the_bot_sends_is_read_on_the_page_in_the_api_and_by_the_search(built: Built) -> None:
    price_list = SendMedia(media="document", link="https://shop.example/a.pdf", filename="Preisliste.pdf")
    place = SendLocation(latitude=1, longitude=2, name="Leopoldplatz")
    replies: list[SomeReply] = [React("👍"), place, SendContacts([CARD]), price_list]
    async with built(lambda _: replies) as shop:
        await ask(shop)
        (row,) = await shop.rows("SELECT session_id FROM session")
        async with await enter(shop, "administrator") as ana:
            page = plain(await ana.get(f"{ADDRESS}/{row['session_id']}"))
            items = (await ana.get(f"/api/v1/conversations/{row['session_id']}/transcript")).json()["items"]
            asked = ("Leopoldplatz", "Ada", "Preisliste")
            found = [(await ana.get("/api/v1/conversations", params={"q": q})).json()["items"] for q in asked]
        for words in ("👍", "Leopoldplatz", "Ada Huber", "Preisliste.pdf", "https://shop.example/a.pdf"):
            assert words in page, words
        kinds = [item["content"]["kind"] for item in items if item["sender"] == "bot"]
        assert kinds == ["reaction", "location", "contacts", "media"]
        assert list(map(len, found)) == [1, 1, 1]


async def test_a_database_that_is_away_while_an_answer_is_checked_costs_no_answer(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[int] = []

    async def away_once(*given: Any) -> Any:
        if not failed:
            failed.append(1)
            raise ConnectionRefusedError("the database is away")
        return await check_messages(*given)

    monkeypatch.setattr(handle_inbound, "check_messages", away_once)
    monkeypatch.setattr(handle_inbound, "COMMIT_PAUSE_SECONDS", 0.0)
    async with built(lambda _: [SendLocation(latitude=1, longitude=2)]) as shop:
        assert [one["type"] for one in await ask(shop)] == ["location"]
        assert (await outcome(shop))[0] == "SUCCESS"
