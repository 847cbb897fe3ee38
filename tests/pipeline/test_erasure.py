"""A contact is erased: nothing of them is left anywhere, the record can be checked, and others keep what is theirs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from dragoman.cli.main import app as command_line
from dragoman.domain import erasure as what_stays
from dragoman.domain.nouns import Policy
from dragoman.ledger import erasure as ledger
from dragoman.services.audit import checkpoints
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.audit.verify_bundle import verify_bundle
from dragoman.services.contacts import erase_contact
from dragoman.services.contacts.erase_contact import ContactBusyError, Erasure, HeldError
from dragoman.services.exports import background_exports
from dragoman.services.media import erase_media
from dragoman.services.retention import legal_holds
from dragoman.skills import SkillAnswer, SkillContext, skill
from dragoman.store import leases
from dragoman.store.accounts import api_tokens
from dragoman.store.accounts.actions import Administrator
from dragoman.store.blobs import BlobKey, BlobsUnavailableError
from dragoman.store.contacts import erasure
from dragoman.store.database import Connection, Database, owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman_shop.pictures import parcel
from tests import harness
from tests.harness import Harness

NAME, PHONE = "Marília Sentinela", "5511987650199"
OTHER_NAME, OTHER_PHONE = "Otto Other", "436601112233"
OFFICER = Administrator("Dora Officer")
PICTURE = parcel(5)
THEIRS = ("mailbox", "message", "message_words", "raw_delivery", "session")
"""Where somebody else's words stand, who asked for the contact's number."""

MARK = "xylophone"
"""Stands in everything that the contact sent, and in what was answered."""


class ErasureWish(BaseModel):
    order: int


@skill(name="orders.find", label="Find", version="1", phrases={"en": ["find my order"]}, keywords=["find"])
async def find(context: SkillContext, wish: ErasureWish) -> SkillAnswer:
    return SkillAnswer(replies=[f"{MARK} order {wish.order} for {context.contact_id}"])


@dataclass
class ErasurePlace:
    shop: Harness
    owner: Connection
    marks: set[str] = field(default_factory=set)
    urls: str = ""

    async def contact(self, phone: str = PHONE) -> UUID:
        return await erase_contact.find(self.owner, self.shop.tenant_id, phone)

    async def erase(self, contact_id: UUID | None = None, *, rehearse: bool = False) -> Erasure:
        return await erase_contact.erase_contact(
            self.shop.runtime, self.owner, self.shop.tenant_id, contact_id or await self.contact(),
            reason="request 7/2026", by=OFFICER, rehearse=rehearse,
        )  # fmt: skip

    async def breaches(self) -> list[str]:
        verdict = await verify_audit(self.shop.runtime, self.shop.tenant_id)
        return [f"{breach.where}: {breach.kind}" for breach in verdict.breaches]

    async def sessions(self, phone: str = PHONE) -> list[UUID]:
        rows = await self.owner.fetch("SELECT session_id FROM session WHERE contact_phone = $1", f"+{phone}")
        return [row["session_id"] for row in rows]

    async def everywhere(self) -> dict[str, list[str]]:
        """Which marks stand in which table, text and bytes alike."""
        found: dict[str, list[str]] = {}
        for table in await tables(self.owner):
            rows = await self.owner.fetch(f'SELECT row_to_json(t)::text AS row FROM "{table}" t')
            text = "\n".join(row["row"] for row in rows)
            hexes = text.lower()
            for mark in sorted(self.marks):
                escaped = json.dumps(mark)[1:-1]
                if any(form in text for form in (mark, escaped)) or any(
                    form.encode().hex() in hexes for form in (mark, escaped)
                ):
                    found.setdefault(table, []).append(mark)
        return found


async def tables(owner: Connection) -> list[str]:
    rows = await owner.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1"
    )
    return [row["relname"] for row in rows]


@pytest.fixture
async def place(database: Database, database_urls: DatabaseURLs, tmp_path: Path) -> AsyncIterator[ErasurePlace]:
    """A shop in which the contact has talked, and somebody else too; people of ours looked at it."""
    async with (
        harness.build(database, tmp_path, {find.spec.name: find}, policy=Policy()) as shop,
        owner_connection(database_urls.owner) as owner,
    ):
        made = ErasurePlace(shop, owner)
        await harness.add_business_partner(shop, f"+{PHONE}")
        await talk(made)
        yield made


async def talk(place: ErasurePlace) -> None:
    shop = place.shop
    await shop.say("find", phone=PHONE, name=NAME)
    await shop.settle()
    await shop.say("4711 is the number", phone=PHONE, name=NAME)
    await shop.settle()
    media_id = await shop.upload(PICTURE, "image/png")
    spot = {"latitude": 48.2, "longitude": 16.3, "name": f"{MARK} street"}
    for message in (
        {"type": "image", "image": {"id": media_id, "caption": f"{MARK} parcel"}},
        {"type": "location", "location": spot},
        {"type": "contacts", "contacts": [{"name": {"formatted_name": f"{MARK} friend"}}]},
        {"type": "text", "text": {"body": f"{MARK} \U0001f600 words"}},
    ):
        await shop.send(message, phone=PHONE, name=NAME)
        await shop.settle()
    await shop.say(f"who knows {PHONE}?", phone=OTHER_PHONE, name=OTHER_NAME)
    await shop.settle()
    (session_id, *_) = await place.sessions()
    await look(place, session_id)
    place.marks |= {NAME, PHONE, MARK, hashlib.sha256(PICTURE).hexdigest(), media_id, "request-of-marilia"}
    place.marks |= {
        row["channel_message_id"]
        for row in await place.owner.fetch(
            "SELECT m.channel_message_id FROM message m JOIN session s USING (tenant_id, session_id) "
            "WHERE s.contact_phone = $1 AND m.channel_message_id IS NOT NULL UNION "
            "SELECT channel_message_id FROM outbox_entry WHERE recipient = $2 AND channel_message_id IS NOT NULL",
            f"+{PHONE}",
            PHONE,
        )
    }
    place.marks |= {
        row["digest"]
        for row in await place.owner.fetch(
            "SELECT payload->>'content_digest' AS digest FROM audit_event JOIN session s USING (tenant_id, session_id) "
            "WHERE s.contact_phone = $1 AND payload ? 'content_digest'",
            f"+{PHONE}",
        )
    }
    assert len(place.marks) > 15


async def look(place: ErasurePlace, session_id: UUID) -> None:
    """What people of ours leave behind about a contact."""
    shop, now = place.shop, place.shop.clock.now()
    view = {"tenant_id": shop.tenant_id, "user_id": uuid4()}
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO user_account (tenant_id, user_id, email, name, password_hash, role, created_at) "
            "VALUES ($1, $2, 'o@shop.example', 'O', '', 'auditor', $3)",
            *view.values(),
            now,
        )
        await connection.execute(
            "INSERT INTO saved_view (tenant_id, view_id, user_id, name, query, created_at) "
            "VALUES ($1, $3, $2, 'hers', $4, $5), ($1, $6, $2, 'all', 'state=OPEN', $5)",
            *(*view.values(), uuid4(), f"phone=%2B{PHONE}", now, uuid4()),
        )
        await connection.execute(
            "INSERT INTO access_record (tenant_id, access_id, at, hour, actor_id, actor_name, via, action, subject, "
            "detail, whole) VALUES ($1, $3, $4, $4, $2, 'O', 'session', 'conversations.listed', $5, $6, true)",
            *(*view.values(), uuid4(), now, hashlib.sha256(PICTURE).hexdigest(), {"phone": "+55 (11) 98765-0199"}),
        )
        await connection.execute(
            "INSERT INTO review_note (tenant_id, session_id, note_id, author_name, body, written_at) "
            "VALUES ($1, $2, $3, 'O', $4, $5)",
            *(shop.tenant_id, session_id, uuid4(), f"{MARK} is nice", now),
        )
    await legal_holds.place_hold(shop.runtime, shop.tenant_id, session_id, "request-of-marilia", OFFICER)
    await legal_holds.lift_hold(shop.runtime, shop.tenant_id, session_id, OFFICER)
    place.marks.add("+55 (11) 98765-0199")


async def test_nothing_of_the_contact_is_left_in_any_table_or_file(place: ErasurePlace, tmp_path: Path) -> None:
    before = await place.everywhere()
    assert await place.shop.rows("SELECT 1 FROM audit_event WHERE type = 'skill.succeeded'")
    assert {"message", "audit_event", "session", "raw_delivery", "outbox_entry", "mailbox", "contact"} <= set(before)
    files = [path for path in (tmp_path / "media").rglob("*") if path.is_file()]
    assert files
    done = await place.erase()
    assert done.trouble == ""
    after = await place.everywhere()
    assert after == {table: [PHONE] for table in THEIRS}
    assert [path for path in files if path.exists()] == []


async def test_every_table_is_thought_of(place: ErasurePlace) -> None:
    known = {*erasure.KEPT, *erasure._OWN, *erasure._MENTIONING}
    known |= {"contact", "raw_delivery", "outbox_entry", "outbox_attempt"}
    known |= {"session", "message", "message_words", "audit_event"}
    found = {table for table in await tables(place.owner) if not table.startswith("pgqueuer")}
    assert found == known


async def test_the_record_can_still_be_checked_and_goes_on(place: ErasurePlace) -> None:
    ids = await place.sessions()
    await checkpoints.make(place.shop.runtime, place.shop.tenant_id)
    heads = await place.owner.fetch("SELECT session_id, position, seal FROM audit_event ORDER BY 1, 2")
    contact_id = await place.contact()
    await place.erase()
    assert await place.breaches() == []
    seals = await place.owner.fetch("SELECT session_id, position, seal FROM audit_event ORDER BY 1, 2")
    assert set(heads) <= set(seals)
    for session_id in ids:
        *_, last = await place.shop.timeline(session_id)
        assert (last["type"], last["actor_kind"]) == ("contact.erased", "administrator")
        assert last["payload"]["reason"] == "request 7/2026"
    await checkpoints.make(place.shop.runtime, place.shop.tenant_id)
    assert await place.breaches() == []
    # Whoever writes from that number then is somebody new.
    await place.shop.say("find", phone=PHONE, name="Somebody New")
    await place.shop.settle()
    assert await place.contact() != contact_id
    assert await place.breaches() == []


async def test_what_the_dispatcher_did_stays(place: ErasurePlace) -> None:
    (session_id, *_) = await place.sessions()
    before = await place.shop.timeline(session_id)
    await place.erase()
    after = await place.shop.timeline(session_id)
    assert [event["type"] for event in before] == [event["type"] for event in after[: len(before)]]
    (invoked,) = [event["payload"] for event in after if event["type"] == "skill.invoked"]
    assert (invoked["skill"], invoked["parameters"], invoked["attempt"]) == ("orders.find", {"erased": True}, 1)
    received = [event["payload"] for event in after if event["type"] == "message.received"]
    assert {one["content_digest"] for one in received} == {what_stays.DIGEST}
    assert [one["kind"] for one in received][:3] == ["text", "text", "image"]


async def test_what_is_left_cannot_be_changed_unseen(place: ErasurePlace) -> None:
    await place.erase()
    (row, *_) = await place.owner.fetch(
        "SELECT session_id, position, payload FROM audit_event WHERE type = 'outcome.assigned' "
        f"AND payload->>'reason' = '{what_stays.ERASED}'"
    )
    where = f"session {row['session_id']}, position {row['position']}: "
    changed = {**row["payload"], "outcome": "BUDGET_EXCEEDED"}
    key = (row["session_id"], row["position"])
    update = "UPDATE audit_event SET payload = $3 WHERE session_id = $1 AND position = $2"
    await place.owner.execute(update, *key, changed)
    assert await place.breaches() == [where + "the event is not what the contact's erasure left of it"]
    await place.owner.execute(update, *key, row["payload"])
    assert await place.breaches() == []
    # The word of the erasure itself is on the chain.
    (told,) = await place.owner.fetch(
        "SELECT position, payload FROM audit_event WHERE session_id = $1 AND type = 'contact.erased'", key[0]
    )
    left = {p: digest for p, digest in told["payload"]["left"].items() if p != str(row["position"])}
    await place.owner.execute(update, key[0], told["position"], {**told["payload"], "left": left})
    assert len(await place.breaches()) == 1
    await place.owner.execute(update, key[0], told["position"], told["payload"])
    # Nor does an erasure allow for an event that it does not name.
    opened = await place.owner.fetchval(
        "SELECT payload FROM audit_event WHERE session_id = $1 AND type = 'session.opened'", key[0]
    )
    await place.owner.execute(update, key[0], 1, {**opened, "channel": "email"})
    assert len(await place.breaches()) == 1


async def test_a_message_that_is_put_back_is_told(place: ErasurePlace) -> None:
    await place.erase()
    await place.owner.execute(
        "UPDATE message SET content = $1 WHERE kind = 'erased' AND ordinal = 1", {"kind": "text", "body": "never said"}
    )
    (breach,) = await place.breaches()
    assert breach.endswith("message 1: its content is not the one that was sealed")


async def test_more_events_than_one_names(place: ErasurePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "NAMED_AT_ONCE", 3)
    await place.erase()
    told = await place.owner.fetch("SELECT payload FROM audit_event WHERE type = 'contact.erased' ORDER BY position")
    assert len(told) > 3
    assert max(len(row["payload"]["left"]) for row in told) == 3
    assert await place.breaches() == []


async def test_others_keep_what_is_theirs(place: ErasurePlace) -> None:
    """One delivery brought messages of both."""
    ours = await place.shop.send({"type": "text", "text": {"body": "both"}}, phone=PHONE, name=NAME)
    theirs = await place.shop.send({"type": "text", "text": {"body": "both"}}, phone=OTHER_PHONE, name=OTHER_NAME)
    rows = await place.owner.fetch("SELECT body, items FROM raw_delivery ORDER BY at DESC, delivery_id DESC LIMIT 2")
    bodies = {row["items"][0]["id"]: json.loads(row["body"]) for row in rows}
    one, two = bodies[ours], bodies[theirs]
    for name in ("messages", "contacts"):
        one["entry"][0]["changes"][0]["value"][name] += two["entry"][0]["changes"][0]["value"][name]
    one["entry"][0]["changes"][0]["value"]["messages"][1]["id"] = "wamid.together"
    one["entry"][0]["changes"][0]["value"]["messages"][1]["timestamp"] = str(int(place.shop.clock.now().timestamp()))
    await place.shop.post(json.dumps(one).encode())
    await place.shop.settle()
    (session_id,) = await place.sessions(OTHER_PHONE)
    texts = "SELECT content->>'body' AS body, channel_message_id FROM message WHERE session_id = $1 ORDER BY ordinal"
    before = await place.owner.fetch(texts, session_id)
    assert (await place.erase()).rows["raw_delivery"] > 3
    assert await place.owner.fetch(texts, session_id) == before
    (body,) = await place.owner.fetch(
        "SELECT body FROM raw_delivery WHERE position('wamid.together'::bytea IN body) > 0"
    )
    value = json.loads(body["body"])["entry"][0]["changes"][0]["value"]
    assert value["messages"][0] == value["contacts"][0] == {"erased": True}
    assert value["messages"][1]["from"] == value["contacts"][1]["wa_id"] == OTHER_PHONE


async def test_a_session_in_progress_ends_and_what_waits_is_not_sent(place: ErasurePlace) -> None:
    await place.owner.execute("UPDATE session SET state = 'EXPIRED', state_path = 'EXPIRED'")
    await place.shop.say("find", phone=PHONE, name=NAME)
    await place.shop.settle()
    (state,) = await place.shop.rows("SELECT session_id FROM session WHERE state = 'AWAITING_USER'")
    reset = "UPDATE outbox_entry SET status = 'PENDING', previous_status = NULL WHERE session_id = $1"
    await place.owner.execute(reset, state["session_id"])
    await place.shop.say("waits in the mailbox", phone=PHONE, name=NAME)
    sent = len(await place.shop.journal(to=PHONE))
    await place.erase()
    await place.shop.settle()
    (after,) = await place.shop.rows(
        "SELECT state, outcome, awaiting, message_count FROM session WHERE session_id = $1", state["session_id"]
    )
    assert (after["state"], after["outcome"], after["awaiting"]) == ("RESOLVED", "NONE", None)
    assert len(await place.shop.journal(to=PHONE)) == sent
    assert {row["status"] for row in await place.shop.rows("SELECT status FROM outbox_entry WHERE reason <> ''")} == {
        "CANCELLED"
    }
    assert await place.shop.rows("SELECT 1 FROM mailbox WHERE content->>'body' = 'waits in the mailbox'") == []
    assert await place.breaches() == []


async def test_a_rehearsal_says_what_then_happens_and_changes_nothing(place: ErasurePlace) -> None:
    before = await place.everywhere()
    rehearsed = await place.erase(rehearse=True)
    assert await place.everywhere() == before
    done = await place.erase()
    assert done == rehearsed
    assert done.rows["audit_event"] > 20


async def test_done_twice_it_does_no_more(place: ErasurePlace) -> None:
    contact_id = await place.contact()
    await place.erase()
    events = await place.owner.fetchval("SELECT count(*) FROM audit_event")
    again = await place.erase(contact_id)
    assert (again.rows, again.sessions) == ({}, 1)
    assert await place.owner.fetchval("SELECT count(*) FROM audit_event") == events
    told = await place.owner.fetch("SELECT object_id, after FROM administrator_action WHERE action = 'contact.erased'")
    assert [row["object_id"] for row in told] == [str(contact_id)]
    assert told[0]["after"]["reason"] == "request 7/2026"


async def test_what_is_held_is_not_erased(place: ErasurePlace) -> None:
    before = await place.everywhere()
    (session_id, *_) = await place.sessions()
    await legal_holds.place_hold(place.shop.runtime, place.shop.tenant_id, session_id, "lawsuit", OFFICER)
    with pytest.raises(HeldError, match=str(session_id)):
        await place.erase()
    assert (await place.everywhere()).keys() | {"legal_hold"} == before.keys()
    await legal_holds.lift_hold(place.shop.runtime, place.shop.tenant_id, session_id, OFFICER)
    assert (await place.erase()).sessions == 1


async def test_nobody_is_erased_while_being_served(place: ErasurePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    contact_id = await place.contact()
    tenant_id = place.shop.tenant_id
    async with place.shop.runtime.database.tenant(tenant_id) as connection:
        lease = await leases.acquire(connection, tenant_id, f"inbound:{contact_id}", owner="another", seconds=3600)
    assert lease is not None
    with monkeypatch.context() as hurried:
        hurried.setattr(erase_contact, "PATIENCE_SECONDS", 0.3)
        with pytest.raises(ContactBusyError, match="being served"):
            await place.erase()
    async with place.shop.runtime.database.tenant(tenant_id) as connection:
        await leases.release(connection, lease)
    await place.erase()


async def test_nor_while_retention_runs(place: ErasurePlace, database_urls: DatabaseURLs) -> None:
    async with owner_connection(database_urls.owner) as other:
        await other.execute("SELECT pg_advisory_lock(hashtext('dragoman.retention'))")
        with pytest.raises(ContactBusyError, match="retention"):
            await place.erase()
    await place.erase()


@pytest.mark.parametrize("step", ["record", "tables", "files"])
async def test_a_run_that_dies_is_finished_by_the_next(
    place: ErasurePlace, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    contact_id, before = await place.contact(), await place.everywhere()

    async def die(*_: object, **__: object) -> None:
        raise ConnectionResetError("killed")

    where = {"record": (ledger, "_row"), "tables": (erasure, "_exports"), "files": (erase_media, "erase_contents")}
    with monkeypatch.context() as patch:
        patch.setattr(*where[step], die)
        with pytest.raises(ConnectionResetError):
            await place.erase()
    if step == "files":
        place.shop.clock.move(hours=2)
        await erase_media.erase_orphaned_blobs(place.shop.runtime, place.shop.tenant_id)
    else:
        assert await place.everywhere() == before
        await place.erase(contact_id)
    assert not await place.shop.runtime.blobs.has(BlobKey(place.shop.tenant_id, hashlib.sha256(PICTURE).digest()))
    assert "audit_event" not in await place.everywhere()
    assert await place.breaches() == []


async def test_a_media_store_that_is_away_keeps_files_for_the_sweep(
    place: ErasurePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise BlobsUnavailableError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(type(place.shop.runtime.blobs), "delete", away)
        done = await place.erase()
    assert "the store is away" in done.trouble
    place.shop.clock.move(hours=2)
    erased = await erase_media.erase_orphaned_blobs(place.shop.runtime, place.shop.tenant_id)
    assert erased.contents == 1
    assert "media_object" not in await place.everywhere()


async def test_what_comes_in_while_it_runs_goes_too(place: ErasurePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    contact_id, erase = await place.contact(), erasure.erase

    async def and_meanwhile(*given: Any, **named: Any) -> Any:
        if not rushed:
            rushed.append(await place.shop.say(f"{MARK} meanwhile", phone=PHONE, name=NAME))
        return await erase(*given, **named)

    rushed: list[str] = []
    monkeypatch.setattr(erasure, "erase", and_meanwhile)
    await place.erase(contact_id)
    place.marks |= {*rushed}
    assert await place.everywhere() == {table: [PHONE] for table in THEIRS}
    assert await place.shop.rows("SELECT 1 FROM mailbox WHERE contact_id = $1", contact_id) == []
    await place.shop.settle()
    assert (
        await place.shop.rows("SELECT 1 FROM session WHERE state <> 'RESOLVED' AND contact_id = $1", contact_id) == []
    )
    assert await place.breaches() == []


async def test_files_that_were_exported_are_offered_no_longer(place: ErasurePlace) -> None:
    shop, export_id = place.shop, uuid4()
    await place.owner.execute(
        "INSERT INTO export_request (tenant_id, export_id, requested_name, requested_at, format, transcript, timeline, "
        "masked, filters, state, attempts, size, sha256, expires_at) "
        "VALUES ($1, $2, 'O', $3, 'csv', true, true, false, $4, 'done', 1, 3, $5, $6)",
        *(shop.tenant_id, export_id, shop.clock.now(), {"phone": [f"+{PHONE}"]}, bytes(32)),
        shop.clock.now() + timedelta(days=1),
    )
    await place.erase()
    (row,) = await shop.rows("SELECT state, filters FROM export_request")
    assert (row["state"], row["filters"]) == ("expired", {"erased": True})
    assert await background_exports.expire(shop.runtime, shop.tenant_id) == 0


async def test_two_who_turned_out_to_be_one_go_together(place: ErasurePlace) -> None:
    other = await place.contact(OTHER_PHONE)
    first = await place.contact()
    await place.owner.execute("UPDATE contact SET same_as = $1 WHERE contact_id = $2", first, other)
    await place.owner.execute("UPDATE contact_identity SET contact_id = $1 WHERE contact_id = $2", first, other)
    assert await place.contact(OTHER_PHONE) == first
    done = await place.erase()
    assert (done.contacts, done.sessions) == (2, 2)
    place.marks |= {OTHER_NAME, OTHER_PHONE}
    assert await place.everywhere() == {}


async def test_the_pages_the_api_and_bundles_show_what_is_left(place: ErasurePlace, tmp_path: Path) -> None:
    shop, now = place.shop, place.shop.clock.now()
    (session_id, *_) = await place.sessions()
    await place.erase()
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        token = await api_tokens.create_token(
            connection, shop.tenant_id, token_id=uuid4(), name="t", role="administrator", now=now,
            expires_at=now + timedelta(days=1),
        )  # fmt: skip
    shop.web.headers["Authorization"] = f"Bearer {token}"
    base = f"/api/v1/conversations/{session_id}"
    summary = (await shop.web.get(base)).json()
    assert (summary["contact"]["name"], summary["contact"]["phone"]) == (what_stays.NAME, None)
    transcript = (await shop.web.get(f"{base}/transcript")).json()["items"]
    assert {json.dumps(item["content"]) for item in transcript} == {'{"kind": "erased"}'}
    timeline = (await shop.web.get(f"{base}/timeline")).json()["items"]
    assert timeline[-1]["label"] == "Contact erased"
    bundle = await shop.web.get("/api/v1/conversations/export", params={"format": "bundle"})
    assert bundle.status_code == 200, bundle.text
    (tmp_path / "bundle.zip").write_bytes(bundle.content)
    verdict = verify_bundle(tmp_path / "bundle.zip")
    assert (verdict.findings, verdict.sessions) == ([], 2)
    assert NAME.encode() not in bundle.content
    assert (await shop.web.get("/api/v1/conversations", params={"q": MARK})).json()["items"] == []


@pytest.mark.parametrize(
    ("said", "leads"),
    [
        (PHONE, True),
        ("+55 (11) 98765-0199", True),
        ("nobody", False),
        ("0199", False),
        ("", False),
        ("%", False),
    ],
)
async def test_a_contact_is_found_by_what_one_has(place: ErasurePlace, said: str, leads: bool) -> None:
    found = await erasure.find(place.owner, place.shop.tenant_id, said)
    assert found == ([await place.contact()] if leads else [])
    if found:
        assert await erasure.find(place.owner, place.shop.tenant_id, str(found[0]).upper()) == found
        assert await erasure.find(place.owner, uuid4(), said) == []


async def test_the_command_line(
    place: ErasurePlace, database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        "DRAGOMAN_DATABASE_URL": database_urls.application,
        "DRAGOMAN_OWNER_DATABASE_URL": database_urls.owner,
        "DRAGOMAN_DATA_DIR": str(tmp_path / "cli"),
        "DRAGOMAN_SECRET_KEY": place.shop.runtime.settings.secret_key,
    }

    async def run(*words: str) -> Any:
        command = ["contact", "erase", *words, "--tenant", "shop"]
        return await asyncio.to_thread(CliRunner(env=environment).invoke, command_line, command)

    refused = await run(PHONE)
    assert (refused.exit_code, "--yes" in str(refused.exception)) == (1, True)
    rehearsed = await run(PHONE, "--dry-run", "--json")
    assert rehearsed.exit_code == 0, rehearsed.output
    done = await run(PHONE, "--yes", "--json", "--reason", "request 8/2026")
    assert done.exit_code == 0, done.output
    said, did = (json.loads(one.stdout) for one in (rehearsed, done))
    assert (said.pop("dry_run"), did.pop("dry_run")) == (True, False)
    assert said == did
    assert said["rows"]["audit_event"] > 20
    gone = await run(PHONE, "--yes")
    assert (gone.exit_code, str(gone.exception)) == (1, f"there is no contact {PHONE}")
    wrong = await run(PHONE, "--yes", "--reason", "two\nlines")
    assert "one line" in str(wrong.exception)
