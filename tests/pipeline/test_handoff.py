"""People take over: one owner, one voice, nothing twice, and all of it on the timeline."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from dragoman.dispatch.orphan import given_up
from dragoman.domain import service_window
from dragoman.domain.content import Note, Template, Text, to_json
from dragoman.domain.errors import ChangeRefusedError, NotFoundError, StaleTokenError
from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import Session
from dragoman.ledger import sessions
from dragoman.services import sweep
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.contacts import erase_contact
from dragoman.services.dispatching.commit_turns import claim_next, commit_turn
from dragoman.services.dispatching.handle_inbound import handle, inputs_of
from dragoman.services.handoff import end_handoff, own_session, write_to_contact
from dragoman.store.accounts.actions import Administrator
from dragoman.store.database import Connection, owner_connection
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.handoff import agent_requests, attention, drafts
from dragoman.web.console.query import ADDRESS as LOGS
from tests.harness import Harness
from tests.little_shop import Calls
from tests.pipeline.test_channels import enter
from tests.pipeline.test_crash import contact_of
from tests.pipeline.test_identity import NUMBER, USER, Chat

ADA = end_handoff.administrator("Ada")
ANA = Agent(agent_id=UUID(int=1), name="Ana Lima")
BO = Agent(agent_id=UUID(int=2), name="Bo Berg")


async def handed_over(shop: Harness) -> UUID:
    await shop.say("human please")
    await shop.settle()
    (row,) = await shop.rows("SELECT session_id, state FROM session ORDER BY started_at DESC LIMIT 1")
    assert row["state"] == "WITH_AGENT"
    found: UUID = row["session_id"]
    return found


async def said(shop: Harness) -> list[str]:
    """The texts that reached the contact, in order."""
    return [
        entry["request"]["text"]["body"] for entry in await shop.journal() if entry["type"] == "text" and entry["wamid"]
    ]


async def types(shop: Harness, session_id: UUID) -> list[str]:
    return [event["type"] for event in await shop.timeline(session_id)]


async def answer(shop: Harness, session_id: UUID, agent: Agent, text: str, request_id: UUID | None = None) -> bool:
    of = (shop.runtime, shop.tenant_id, session_id, agent)
    return await write_to_contact.send_answer(*of, Text(text), request_id=request_id or uuid4())


async def test_an_agent_claims_answers_and_resolves(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    assert await own_session.claim_session(*of, ANA)
    assert not await own_session.claim_session(*of, ANA), "hers already"
    with pytest.raises(ChangeRefusedError, match="Ana Lima has this conversation"):
        await own_session.claim_session(*of, BO)
    with pytest.raises(ChangeRefusedError, match="Take it over first"):
        await answer(shop, session_id, BO, "Hello from Bo")
    assert await answer(shop, session_id, ANA, "Hello from Ana")
    await shop.settle()
    await shop.say("thank you")
    await shop.settle()
    (row,) = await shop.rows("SELECT waiting_since, answered_at FROM handoff")
    assert row["waiting_since"] is not None
    assert row["answered_at"] is not None
    await end_handoff.resolve_session(*of, ANA, reason="Solved")
    (row,) = await shop.rows("SELECT state, agent_name FROM session")
    assert (row["state"], row["agent_name"]) == ("RESOLVED", "Ana Lima")
    (row,) = await shop.rows("SELECT sender, sender_name FROM message WHERE sender = 'agent'")
    assert row["sender_name"] == "Ana Lima"
    found = await types(shop, session_id)
    assert [t for t in found if t.startswith("handoff.")] == ["handoff.requested", "handoff.claimed", "handoff.ended"]
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_reply_is_sent_once_however_often_it_is_asked_for(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    request_id = uuid4()
    done = await asyncio.gather(*(answer(shop, session_id, ANA, "Once", request_id) for _ in range(8)))
    assert sorted(done) == [False] * 7 + [True]
    await shop.settle()
    assert (await said(shop)).count("Once") == 1


async def test_of_two_who_claim_at_once_one_wins_and_the_other_is_told_who(shop: Harness) -> None:
    """Two hundred times, on a few sessions that go back into the queue in between."""
    for n in range(4):
        await shop.say("human please", phone=f"43660111000{n}")
    await shop.settle()
    fought_for = [row["session_id"] for row in await shop.rows("SELECT session_id FROM session ORDER BY session_id")]

    async def fight(session_id: UUID) -> str:
        of = (shop.runtime, shop.tenant_id, session_id)
        claims = (own_session.claim_session(*of, agent) for agent in (ANA, BO))
        results = await asyncio.gather(*claims, return_exceptions=True)
        (won,) = [agent for agent, result in zip((ANA, BO), results, strict=True) if result is True]
        (lost,) = {ANA, BO} - {won}
        (told,) = [result for result in results if result is not True]
        assert isinstance(told, ChangeRefusedError)
        assert str(told) == f"{won.name} has this conversation."
        (row,) = await shop.rows("SELECT owner_id FROM handoff WHERE session_id = $1", session_id)
        assert row["owner_id"] == won.agent_id
        with pytest.raises(ChangeRefusedError, match="Take it over first"):
            await own_session.unassign_session(*of, lost, reason="not mine to give")
        await own_session.unassign_session(*of, won, reason="once more")
        return won.name

    rounds = 50
    for _ in range(rounds):
        await asyncio.gather(*(fight(session_id) for session_id in fought_for))
    for session_id in fought_for:
        assert (await types(shop, session_id)).count("handoff.claimed") == rounds
        (row,) = await shop.rows("SELECT fence FROM handoff WHERE session_id = $1", session_id)
        assert row["fence"] == rounds


async def test_a_release_and_a_claim_at_once_leave_one_result(shop: Harness) -> None:
    """Who comes first is on the timeline; a claim that comes second is refused, a release that does takes it back."""
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    for _ in range(20):
        before = len(await types(shop, session_id))
        claimed, released = await asyncio.gather(
            own_session.claim_session(*of, ANA),
            end_handoff.release_session(*of, ADA, reason="nobody is there"),
            return_exceptions=True,
        )
        assert released is None
        happened = [t for t in (await types(shop, session_id))[before:] if t.startswith("handoff.")]
        if claimed is True:
            assert happened == ["handoff.claimed", "handoff.released", "handoff.ended"]
        else:
            assert isinstance(claimed, ChangeRefusedError)
            assert "not with an agent any more" in str(claimed)
            assert happened == ["handoff.released", "handoff.ended"]
        (row,) = await shop.rows(
            "SELECT s.state, s.agent_name, h.ended_at FROM session s JOIN handoff h USING (session_id)"
        )
        assert (row["state"], row["agent_name"]) == ("ACTIVE", None)
        assert row["ended_at"] is not None
        # Nobody writes so often that a limit stops them.
        shop.clock.move(seconds=60)
        assert await handed_over(shop) == session_id
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_release_during_a_running_skill_orphans_it_and_the_next_message_is_answered(
    shop: Harness, calls: Calls
) -> None:
    await shop.say("slow")
    contact_id = await contact_of(shop)
    running = asyncio.create_task(handle(shop.runtime, shop.tenant_id, contact_id))
    await calls.begun.wait()
    (row,) = await shop.rows("SELECT session_id, state FROM session")
    session_id = row["session_id"]
    assert row["state"] == "PROCESSING"
    with pytest.raises(ChangeRefusedError, match="Say why"):
        await end_handoff.release_session(shop.runtime, shop.tenant_id, session_id, ADA, reason=" ")
    await end_handoff.release_session(shop.runtime, shop.tenant_id, session_id, ADA, reason="it hangs")
    (orphan,) = [e for e in await shop.timeline(session_id) if e["type"] == "dispatch.orphaned"]
    assert orphan["payload"]["skill"] == "test.slow"
    assert orphan["payload"]["reason"] == "Ada released the session: it hangs"
    assert orphan["dispatch_id"] is not None
    (row,) = await shop.rows("SELECT state, outcome FROM session")
    assert (row["state"], row["outcome"]) == ("ACTIVE", "DISPATCH_ORPHANED")

    await shop.say("answer")
    await shop.settle()
    assert (await said(shop))[-1] == "answer 2"
    before = await said(shop)
    calls.go_on.set()
    assert await running == 0
    await shop.settle()
    assert await said(shop) == before, "what comes late is not sent"
    late = [e["payload"]["late_result"] for e in await shop.timeline(session_id) if e["type"] == "dispatch.orphaned"]
    assert late == [None, "done at last"]
    assert await shop.rows("SELECT 1 FROM mailbox WHERE progress <> 'done'") == []
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


@pytest.mark.parametrize("state", ["ACTIVE", "AWAITING_USER", "PROCESSING", "WITH_AGENT"])
async def test_a_session_can_be_ended_whatever_it_waits_for(shop: Harness, calls: Calls, state: str) -> None:
    words = {"ACTIVE": "answer", "AWAITING_USER": "hello", "PROCESSING": "slow", "WITH_AGENT": "human please"}
    await shop.say(words[state])
    running = None
    if state == "PROCESSING":
        running = asyncio.create_task(handle(shop.runtime, shop.tenant_id, await contact_of(shop)))
        await calls.begun.wait()
    else:
        await shop.settle()
    (row,) = await shop.rows("SELECT session_id, state FROM session")
    assert row["state"] == state
    of = (shop.runtime, shop.tenant_id, row["session_id"], ADA)
    await end_handoff.end_session(*of, reason="a test of ours")
    with pytest.raises(ChangeRefusedError, match="has already ended"):
        await end_handoff.end_session(*of, reason="twice")
    calls.go_on.set()
    if running is not None:
        await running
    (ended,) = await shop.rows("SELECT state FROM session")
    assert ended["state"] == "RESOLVED"
    found = await types(shop, row["session_id"])
    assert found.count("session.resolved") == 1
    assert found.count("handoff.ended") == (state == "WITH_AGENT")
    await shop.say("answer")
    await shop.settle()
    assert (await said(shop))[-1].startswith("answer ")
    assert len(await shop.rows("SELECT 1 FROM session")) == 2
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_an_answer_goes_out_while_a_dead_worker_has_the_contact(shop: Harness) -> None:
    """Its lease has not run out; the message that it had in hand is dispatched afterwards, once."""
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    await shop.say("are you there?")
    contact_id = await contact_of(shop)
    work = await claim_next(shop.runtime, shop.tenant_id, contact_id)
    assert work is not None, "a worker has it in hand, and dies"
    before = await said(shop)
    assert await answer(shop, session_id, ANA, "I am here")
    await shop.settle()
    assert await said(shop) == [*before, "I am here"]
    messages = await shop.rows("SELECT sender, content->>'body' AS body FROM message ORDER BY ordinal")
    assert [m["body"] for m in messages].count("are you there?") == 1
    assert await shop.rows("SELECT 1 FROM mailbox WHERE progress <> 'done'") == []
    with pytest.raises(StaleTokenError):
        await commit_turn(shop.runtime, work, given_up(inputs_of(shop.runtime, work), "late"), 1)


async def test_outside_the_window_only_a_template_goes(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ANA)
    shop.clock.move(hours=25)
    request_id = uuid4()
    with pytest.raises(ChangeRefusedError) as refused:
        await answer(shop, session_id, ANA, "Hello", request_id)
    assert str(refused.value) == service_window.NEEDS_TEMPLATE
    template = Template(name="we_are_back", language="en", rendered="We have news for you", category="utility")
    # The same key: nothing was done for it.
    assert await write_to_contact.send_answer(*of, ANA, template, request_id=request_id)
    await shop.settle()
    (sent,) = [entry for entry in await shop.journal() if entry["type"] == "template"]
    assert sent["request"]["template"]["name"] == "we_are_back"


async def test_a_key_is_known_for_as_long_as_it_may_be_sent_again(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    request_id = uuid4()
    assert await answer(shop, session_id, ANA, "Once", request_id)
    await shop.settle()
    shop.clock.move(hours=1)
    await sweep.clean_up(shop.runtime)
    assert not await answer(shop, session_id, ANA, "Once", request_id)
    shop.clock.move(seconds=agent_requests.KEPT.total_seconds())
    await sweep.clean_up(shop.runtime)
    assert await shop.rows("SELECT 1 FROM agent_request") == []
    await shop.settle()
    assert (await said(shop)).count("Once") == 1


async def test_a_note_stays_with_us(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    (before,) = await shop.rows("SELECT last_activity_at FROM session")
    shop.clock.move(seconds=60)
    request_id = uuid4()
    secret = "call +436601112233 about the parcel"
    assert await write_to_contact.add_note(*of, BO, secret, request_id=request_id), "whoever has the session"
    assert not await write_to_contact.add_note(*of, BO, secret, request_id=request_id)
    with pytest.raises(ChangeRefusedError, match="empty"):
        await write_to_contact.add_note(*of, BO, "  ", request_id=uuid4())
    await shop.settle()
    assert not any("parcel" in str(entry["request"]) for entry in await shop.journal())
    assert await shop.rows("SELECT 1 FROM outbox_entry WHERE by_agent") == []
    (note,) = await shop.rows("SELECT sender, sender_name, kind, content FROM message WHERE kind = 'note'")
    assert (note["sender"], note["sender_name"], note["content"]["body"]) == ("agent", "Bo Berg", secret)
    (after,) = await shop.rows("SELECT last_activity_at FROM session")
    assert after == before, "a note is no activity of the conversation"
    for role, shown in (("administrator", True), ("auditor", False)):
        async with await enter(shop, role) as client:
            for page in (f"{LOGS}/{session_id}", f"{LOGS}/{session_id}/text"):
                text = (await client.get(page)).text
                assert "about the parcel" in text, page
                assert ("+436601112233" in text) or not shown, page
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_note_that_is_altered_is_told(shop: Harness, database_urls: DatabaseURLs) -> None:
    session_id = await handed_over(shop)
    await write_to_contact.add_note(shop.runtime, shop.tenant_id, session_id, BO, "as it was", request_id=uuid4())
    async with owner_connection(database_urls.owner) as owner:
        await owner.execute("UPDATE message SET content = $1 WHERE kind = 'note'", to_json(Note("as it was not")))
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches != ()


async def test_an_erased_contact_takes_notes_and_drafts_along(shop: Harness, database_urls: DatabaseURLs) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ANA)
    await write_to_contact.add_note(*of, BO, "xylophone is her hobby", request_id=uuid4())
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await drafts.save(
            connection, shop.tenant_id, session_id, ANA,
            body="dear xylophone", is_note=False, is_shared=True, now=shop.clock.now(),
        )  # fmt: skip
    await shop.settle()
    async with owner_connection(database_urls.owner) as owner:
        await erase_contact.erase_contact(
            shop.runtime, owner, shop.tenant_id, await contact_of(shop), reason="asked", by=Administrator("Dora")
        )
        for table in ("message", "audit_event", "reply_draft", "outbox_entry", "message_words", "session"):
            assert "xylophone" not in str(await owner.fetch(f"SELECT * FROM {table}")), table
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()
    found = await types(shop, session_id)
    assert found.count("handoff.ended") == 1


async def test_the_contact_waits_from_its_message_to_the_answer(shop: Harness) -> None:
    async def waiting_since() -> datetime | None:
        (row,) = await shop.rows("SELECT waiting_since FROM handoff")
        found: datetime | None = row["waiting_since"]
        return found

    began = shop.clock.now()
    session_id = await handed_over(shop)
    assert await waiting_since() == began
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    assert await waiting_since() == began, "to be taken is not to be answered"
    shop.clock.move(seconds=30)
    await answer(shop, session_id, ANA, "Hello")
    assert await waiting_since() is None
    shop.clock.move(seconds=30)
    wrote = shop.clock.now()
    for _ in range(2):
        await shop.say("and one more thing")
        await shop.settle()
        shop.clock.move(seconds=30)
    assert await waiting_since() == wrote
    await write_to_contact.add_note(shop.runtime, shop.tenant_id, session_id, BO, "hm", request_id=uuid4())
    assert await waiting_since() == wrote, "a note is no answer"
    await end_handoff.return_to_bot(shop.runtime, shop.tenant_id, session_id, ANA, note="")
    assert await waiting_since() is None


async def test_drafts_are_ones_own_until_they_are_shared_and_go_when_they_are_sent(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ANA)

    async def save(agent: Agent, body: str, *, is_shared: bool = False) -> None:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await drafts.save(
                connection, shop.tenant_id, session_id, agent,
                body=body, is_note=False, is_shared=is_shared, now=shop.clock.now(),
            )  # fmt: skip

    async def seen_by(agent: Agent) -> list[tuple[str, str]]:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            found = await drafts.of_session(connection, shop.tenant_id, session_id, agent.agent_id)
        return [(one.agent_name, one.body) for one in found]

    await save(ANA, "Dear ")
    await save(ANA, "Dear Uwe")
    assert await seen_by(ANA) == [("Ana Lima", "Dear Uwe")]
    assert await seen_by(BO) == []
    await save(ANA, "Dear Uwe,", is_shared=True)
    await save(BO, "Hi")
    assert await seen_by(BO) == [("Bo Berg", "Hi"), ("Ana Lima", "Dear Uwe,")]
    await own_session.take_over_session(*of, BO, reason="she has gone home")
    assert await seen_by(BO) == [("Bo Berg", "Hi"), ("Ana Lima", "Dear Uwe,")]
    await answer(shop, session_id, BO, "Hi")
    assert await seen_by(BO) == [("Ana Lima", "Dear Uwe,")]
    assert await seen_by(ANA) == [("Ana Lima", "Dear Uwe,")]
    await save(ANA, "   ")
    assert await seen_by(ANA) == [], "an empty one is forgotten"
    await save(ANA, "never mind", is_shared=True)
    await end_handoff.resolve_session(*of, BO, reason="Solved")
    assert await seen_by(ANA) == await seen_by(BO) == []


async def test_who_looks_and_types_is_seen_by_colleagues_for_as_long_as_it_is_so(shop: Harness) -> None:
    session_id = await handed_over(shop)

    async def looks(agent: Agent, *, is_typing: bool = False) -> None:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            await attention.note_look(
                connection, shop.tenant_id, session_id, agent, is_typing=is_typing, now=shop.clock.now()
            )

    async def seen_by(agent: Agent) -> list[tuple[str, bool]]:
        async with shop.runtime.database.tenant(shop.tenant_id) as connection:
            found = await attention.onlookers(
                connection, shop.tenant_id, session_id, agent.agent_id, now=shop.clock.now()
            )
        return [(one.agent_name, one.is_typing) for one in found]

    await looks(ANA)
    await looks(BO, is_typing=True)
    assert await seen_by(ANA) == [("Bo Berg", True)]
    assert await seen_by(BO) == [("Ana Lima", False)]
    shop.clock.move(seconds=attention.TYPING.total_seconds())
    assert await seen_by(ANA) == [("Bo Berg", False)]
    shop.clock.move(seconds=attention.LOOKING.total_seconds() - attention.TYPING.total_seconds())
    assert await seen_by(ANA) == []
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        for ordinal in (2, 1):
            await attention.mark_seen(connection, shop.tenant_id, session_id, ANA, ordinal, now=shop.clock.now())
        assert await attention.seen_by(connection, shop.tenant_id, [session_id], ANA.agent_id) == {session_id: 2}
    shop.clock.move(seconds=attention.KEPT.total_seconds() + 1)
    await sweep.clean_up(shop.runtime)
    assert await shop.rows("SELECT 1 FROM handoff_attention") == []


async def test_another_tenant_sees_and_takes_nothing_of_it(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    await answer(shop, session_id, ANA, "Hello")
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        await drafts.save(
            connection, shop.tenant_id, session_id, ANA,
            body="secret", is_note=False, is_shared=True, now=shop.clock.now(),
        )  # fmt: skip
    other = await shop.another_tenant("other")
    for table in ("handoff", "agent_request", "reply_draft", "handoff_attention"):
        assert await shop.rows(f"SELECT 1 FROM {table}"), table
        assert await other.rows(f"SELECT 1 FROM {table}") == [], table
    with pytest.raises(NotFoundError):
        await own_session.take_over_session(other.runtime, other.tenant_id, session_id, BO, reason="mine")
    with pytest.raises(NotFoundError):
        await answer(other, session_id, ANA, "Hello")
    with pytest.raises(NotFoundError):
        await end_handoff.release_session(other.runtime, other.tenant_id, session_id, ADA, reason="mine")


async def test_two_contacts_that_are_one_person_stay_with_whoever_has_them(shop: Harness) -> None:
    """Of two that are with agents one goes on, and the human part of the other ends on record."""
    chat = Chat(shop)
    await chat.write("human please", **{"from": NUMBER})
    await chat.write("human please", from_user_id=USER)
    ids = [row["session_id"] for row in await shop.rows("SELECT session_id FROM session ORDER BY started_at")]
    for session_id, agent in zip(ids, (ANA, BO), strict=True):
        await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, agent)
    await chat.write("it is me", **{"from": NUMBER, "from_user_id": USER})
    rows = await shop.rows(
        "SELECT s.session_id, s.state, h.ended_at, h.owner_name FROM session s JOIN handoff h USING (session_id)"
    )
    (stays,) = [row for row in rows if row["state"] == "WITH_AGENT"]
    (gone,) = [row for row in rows if row["state"] == "RESOLVED"]
    assert stays["ended_at"] is None
    assert gone["ended_at"] is not None
    (ended,) = [e["payload"] for e in await shop.timeline(gone["session_id"]) if e["type"] == "handoff.ended"]
    assert (ended["how"], ended["agent"]) == ("superseded", gone["owner_name"])
    agent = ANA if stays["owner_name"] == ANA.name else BO
    assert await answer(shop, stays["session_id"], agent, "Hello")
    await shop.settle()
    assert (await said(shop))[-1] == "Hello"
    assert (await verify_audit(shop.runtime, shop.tenant_id)).breaches == ()


async def test_a_thumb_up_waits_for_no_answer(shop: Harness) -> None:
    session_id = await handed_over(shop)
    await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    await answer(shop, session_id, ANA, "All is well")
    await shop.settle()
    (sent,) = await shop.rows("SELECT channel_message_id FROM outbox_entry WHERE by_agent")
    reaction = {"message_id": sent["channel_message_id"], "emoji": "\U0001f44d"}
    await shop.send({"type": "reaction", "reaction": reaction})
    await shop.settle()
    assert await shop.rows("SELECT 1 FROM message WHERE kind = 'reaction'")
    (row,) = await shop.rows("SELECT waiting_since FROM handoff")
    assert row["waiting_since"] is None


async def test_a_session_that_has_moved_to_another_contact_leaves_no_lease_behind(
    shop: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two contacts turn out to be one between the first look and the lease."""
    session_id = await handed_over(shop)
    get, looks = sessions.get, 0

    async def moved_meanwhile(connection: Connection, tenant_id: UUID, session_id: UUID) -> Session | None:
        nonlocal looks
        looks += 1
        found = await get(connection, tenant_id, session_id)
        return replace(found, contact_id=UUID(int=77)) if found is not None and looks == 1 else found

    monkeypatch.setattr(sessions, "get", moved_meanwhile)
    assert await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    assert looks == 4
    assert await shop.rows("SELECT name FROM lease WHERE owner IS NOT NULL") == []


async def test_a_key_of_another_conversation_is_refused_and_not_taken_for_done(shop: Harness) -> None:
    first = await handed_over(shop)
    await shop.say("human please", phone="436601110001", name="Uwe")
    await shop.settle()
    (second,) = await shop.rows("SELECT session_id FROM session WHERE session_id <> $1", first)
    for session_id in (first, second["session_id"]):
        await own_session.claim_session(shop.runtime, shop.tenant_id, session_id, ANA)
    request_id = uuid4()
    assert await answer(shop, first, ANA, "Hello", request_id)
    with pytest.raises(ChangeRefusedError, match="another conversation"):
        await answer(shop, second["session_id"], ANA, "Hello", request_id)


async def test_a_note_takes_no_answer_away_that_was_begun(shop: Harness) -> None:
    session_id = await handed_over(shop)
    of = (shop.runtime, shop.tenant_id, session_id)
    await own_session.claim_session(*of, ANA)
    async with shop.runtime.database.tenant(shop.tenant_id) as connection:
        given = (connection, shop.tenant_id, session_id, ANA)
        await drafts.save(*given, body="Dear Ana,", is_note=False, is_shared=False, now=shop.clock.now())
    await write_to_contact.add_note(*of, ANA, "from another device", request_id=uuid4())
    assert [row["body"] for row in await shop.rows("SELECT body FROM reply_draft")] == ["Dear Ana,"]
    await answer(shop, session_id, ANA, "Dear Ana, it is on its way")
    assert await shop.rows("SELECT body FROM reply_draft") == []
