"""Parts of a transcript and a timeline, what belongs to them elsewhere, and how many statements a page takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from dragoman.domain import content as c
from dragoman.ledger import pages
from dragoman.ledger.pages import FIRST, LATEST, PageAnchor
from dragoman.store.conversation_list import conversations
from dragoman.web.console import detail, wording
from dragoman.web.console.detail import ConversationReader

from .outbox_fixture import add_entry
from .tenant_fixture import TenantFixture

NOW = datetime.now(UTC).replace(microsecond=0)
CUTOFF = NOW - timedelta(days=10)
LOGS = "/communications/automation/logs"


async def long_session(tenant: TenantFixture, messages: int, *, events_each: int = 3) -> UUID:
    """A session of so many messages, written a second apart; each of the contact's has a dispatch and its events."""
    start = NOW - timedelta(hours=3)
    session_id = await tenant.session(
        message_count=messages, next_position=messages * events_each + 1, started_at=start, last_activity_at=NOW
    )
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        await connection.execute(
            "INSERT INTO message (tenant_id, session_id, ordinal, at, message_id, sender, sender_name, kind, content, "
            "channel_message_id, dispatch_id) "
            "SELECT $1, $2, n, $3::timestamptz + n * interval '1 second', gen_random_uuid(), "
            "CASE n % 2 WHEN 1 THEN 'contact' ELSE 'bot' END, 'Ada', 'text', "
            "jsonb_build_object('kind', 'text', 'body', 'message ' || n), 'w' || n, md5((n + n % 2)::text)::uuid "
            "FROM generate_series(1, $4::int) n",
            tenant.tenant_id,
            session_id,
            start,
            messages,
        )
        await connection.execute(
            "INSERT INTO audit_event (tenant_id, session_id, position, at, type, schema_version, actor_kind, payload, "
            "dispatch_id, seal) SELECT $1, $2, n, $3::timestamptz + (n / $5::int) * interval '1 second', "
            "CASE WHEN n = 1 THEN 'session.opened' WHEN n % 7 = 0 THEN 'state.changed' WHEN n % 50 = 0 THEN "
            "'skill.failed' ELSE 'message.received' END, 1, 'dispatcher', jsonb_build_object('new', "
            "CASE WHEN n % 2 = 0 THEN 'ACTIVE' ELSE 'PROCESSING' END), "
            "md5(((n - 1) / $5::int + 1 + ((n - 1) / $5::int + 1) % 2)::text)::uuid, decode('00', 'hex') "
            "FROM generate_series(1, $4::int) n",
            tenant.tenant_id,
            session_id,
            start,
            messages * events_each,
            events_each,
        )
    return session_id


@asynccontextmanager
async def reading(tenant: TenantFixture, session_id: UUID) -> AsyncIterator[ConversationReader]:
    async with tenant.runtime.database.tenant(tenant.tenant_id) as connection:
        found = await conversations.get(connection, tenant.tenant_id, session_id)
        assert found is not None
        yield ConversationReader(connection=connection, tenant_id=tenant.tenant_id, conversation=found, cutoff=CUTOFF)


async def test_parts_meet_without_gap_or_overlap_in_both_directions(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 23)
    async with reading(tenant, session_id) as read:
        of = (read.connection, read.tenant_id, read.conversation)
        for limit in (1, 5, 22, 23, 24):
            back: list[int] = []
            part = await pages.messages(*of, LATEST, cutoff=CUTOFF, limit=limit)
            assert not part.later
            while True:
                back = [message.ordinal for message in part.items] + back
                if not part.earlier:
                    break
                place = PageAnchor(side="before", number=back[0])
                part = await pages.messages(*of, place, cutoff=CUTOFF, limit=limit)
                assert part.later
            assert back == list(range(1, 24))
            forth: list[int] = []
            events = await pages.events(*of, FIRST, cutoff=CUTOFF, limit=limit)
            while True:
                forth += [event.position for event in events.items]
                if not events.later:
                    break
                place = PageAnchor(side="after", number=forth[-1])
                events = await pages.events(*of, place, cutoff=CUTOFF, limit=limit)
                assert events.earlier
            assert forth == list(range(1, 70))


async def test_a_part_stands_around_its_item(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 40)
    async with reading(tenant, session_id) as read:
        shown = (await read.transcript(PageAnchor(side="around", number=20), limit=10)).part
        assert [message.ordinal for message in shown.items] == list(range(15, 25))
        assert (shown.earlier, shown.later) == (True, True)
        shown = (await read.transcript(PageAnchor(side="around", number=2), limit=10)).part
        assert [message.ordinal for message in shown.items] == list(range(1, 11))
        assert (shown.earlier, shown.later) == (False, True)
        assert (await read.transcript(PageAnchor(side="after", number=40))).part.items == []


async def test_what_is_done_to_a_message_comes_with_it_from_anywhere(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 30)
    start = NOW - timedelta(minutes=5)

    async def add(ordinal: int, content: c.Content, **columns: Any) -> None:
        at = start + timedelta(seconds=ordinal)
        await tenant.message(
            session_id, ordinal, c.to_json(content), channel_message_id=f"w{ordinal}", at=at, **columns
        )

    await add(31, c.Reaction(target="w3", emoji="👍"))
    await add(32, c.Edit(target="w5", body="corrected"))
    await add(33, c.Revoke(target="w7"))
    await add(34, c.Choice(source="button", id="a", title="A"), reply_to="w2")
    await add(35, c.Text("as I said"), reply_to="w9")
    await tenant.outbox(session_id, bot := uuid4(), channel_message_id="sent-by-us")
    await add(36, c.Text("from us"), message_id=bot, sender="bot")
    await add(37, c.Reaction(target="sent-by-us", emoji="❤️"))
    async with reading(tenant, session_id) as read:
        first = await read.transcript(FIRST, limit=10)
        assert [message.ordinal for message in first.related_messages] == [31, 32, 33, 34]
        last = await read.transcript(LATEST, limit=7)
        assert [message.ordinal for message in last.related_messages] == [2, 3, 5, 7, 9]
        alone = await read.transcript(LATEST, limit=1)
        assert [message.ordinal for message in alone.related_messages] == [36]


async def test_notices_fall_to_exactly_one_part(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 20)
    async with reading(tenant, session_id) as read:
        whole = await read.transcript(LATEST, limit=50)
        latest = await read.transcript(LATEST, limit=8)
        before = await read.transcript(PageAnchor(side="before", number=13), limit=50)
        types = {"state.changed"}
        of = (read.connection, read.tenant_id, read.conversation)
        found = [
            [event.position for event in await pages.notices(*of, shown.part, cutoff=CUTOFF, types=types)]
            for shown in (before, latest, whole)
        ]
        assert found[0]
        assert found[1]
        assert found[0] + found[1] == found[2]


async def test_the_digest_counts_and_measures_the_whole(tenant: TenantFixture) -> None:
    session_id = await tenant.session(started_at=NOW - timedelta(seconds=100))
    at = [NOW - timedelta(seconds=100 - second) for second in (0, 0, 30, 100)]
    await tenant.event(session_id, 1, "session.opened", at=at[0])
    await tenant.event(session_id, 2, "state.changed", at=at[1], payload={"new": "ACTIVE"})
    await tenant.event(session_id, 3, "skill.failed", at=at[2])
    await tenant.event(session_id, 4, "message.status", at=at[2], payload={"status": "failed"})
    await tenant.event(session_id, 5, "message.status", at=at[2], payload={"status": "read"})
    await tenant.event(session_id, 6, "state.changed", at=at[2], payload={"new": "PROCESSING"})
    await tenant.event(session_id, 7, "state.changed", at=at[3], payload={"new": "RESOLVED"})
    async with reading(tenant, session_id) as read:
        figures = await read.digest()
        assert (figures.events, figures.errors, figures.calls) == (7, 2, 1)
        assert (figures.first_error, figures.warnings) == (3, 0)
        assert [stay.state for stay in figures.state_spans] == ["ACTIVE", "PROCESSING", "RESOLVED"]
        assert figures.state_spans[-1].end is None
        assert figures.spent == {"OPEN": 0.0, "ACTIVE": 30.0, "PROCESSING": 70.0, "RESOLVED": 0.0}
        errors = (await read.timeline(LATEST, show="errors")).part
        assert [event.position for event in errors.items] == [3, 4]


async def test_a_ribbon_has_no_more_stretches_than_can_be_told_apart(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 1500)
    async with reading(tenant, session_id) as read:
        figures = await read.digest()
    assert figures.events == 4500
    assert 100 < len(figures.state_spans) <= pages.RIBBON_PLACES + 1


async def test_nothing_from_before_the_retention_window_is_read(tenant: TenantFixture) -> None:
    session_id = await long_session(tenant, 10)
    async with reading(tenant, session_id) as read:
        late = ConversationReader(
            connection=read.connection,
            tenant_id=read.tenant_id,
            conversation=read.conversation,
            cutoff=NOW + timedelta(days=1),
        )
        assert (await late.transcript(LATEST)).part.items == []
        assert (await late.timeline(LATEST)).part.items == []
        assert (await late.digest()).events == 0


async def test_the_number_of_statements_does_not_depend_on_the_length(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    short, long = await long_session(tenant, 4), await long_session(tenant, 400)
    statements: list[str] = []

    def hear(record: Any) -> None:
        statements.append(record.query)

    async def asked(address: str, target: str = "") -> int:
        """How many statements the page at *address* takes, with those that every request needs to know its user."""
        statements.clear()
        pool = tenant.runtime.database.pool
        held = [await pool.acquire() for _ in range(pool.get_size())]
        for connection in held:
            connection.add_query_logger(hear)
        for connection in held:
            await pool.release(connection)
        headers = cookie | ({"HX-Request": "true", "HX-Target": target} if target else {})
        response = await client.get(address, headers=headers)
        assert response.status_code == 200, response.text
        held = [await pool.acquire() for _ in range(pool.get_size())]
        for connection in held:
            connection.remove_query_logger(hear)
        for connection in held:
            await pool.release(connection)
        # The driver asks each connection about a type that is new to it.
        ours = [query for query in statements if "typeinfo_tree" not in query]
        return len([query for query in ours if not query.startswith(("BEGIN", "COMMIT"))])

    await asked(f"{LOGS}/{short}")  # the driver asks about types once
    drawer = [await asked(f"{LOGS}/{session_id}", "aside#drawer") for session_id in (short, long)]
    assert drawer[0] == drawer[1] <= 29
    # Who asks (2), the default view, the feed's place, what the filters offer (4), the views, the time-out, the list,
    # and who read it, which is asked no more for an hour once it stands on record.
    assert await asked(LOGS) <= 12
    await asked(LOGS)
    assert await asked(LOGS) <= 11
    for part in ("transcript?before=300", "timeline?before=900"):
        assert await asked(f"{LOGS}/{long}/{part}", "x") <= 10


async def test_a_long_conversation_is_opened_by_its_newest_part(
    tenant: TenantFixture, client: httpx.AsyncClient
) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    session_id = await long_session(tenant, 400)
    page = (await client.get(f"{LOGS}/{session_id}", headers=cookie)).text
    assert "message 400<" in page
    assert "message 350<" not in page
    assert f'data-part="{LOGS}/{session_id}/transcript?before=351"' in page
    assert len(page) < 400_000
    fragment = (await client.get(f"{LOGS}/{session_id}/transcript?before=351", headers=cookie)).text
    assert "message 350<" in fragment
    assert "<html" not in fragment
    async with reading(tenant, session_id) as read:
        wanted = (await read.transcript(PageAnchor(side="around", number=7), limit=1)).part.items[0].message_id
    around = (await client.get(f"{LOGS}/{session_id}/transcript?around=m-{wanted}", headers=cookie)).text
    assert f'id="m-{wanted}"' in around
    newer = (await client.get(f"{LOGS}/{session_id}/newer?message=398&event=1199", headers=cookie)).text
    assert 'data-last="400"' in newer
    assert "message 399<" in newer
    assert "message 398<" not in newer


async def test_places_that_are_none_are_refused(tenant: TenantFixture, client: httpx.AsyncClient) -> None:
    cookie = await tenant.cookie(await tenant.user("auditor"))
    session_id = await long_session(tenant, 4)
    for query, status in (
        ("transcript?before=x", 422),
        ("transcript?before=99999999999", 422),
        ("timeline?show=planets", 422),
        (f"transcript?around=m-{uuid4()}", 404),
        ("timeline?around=d-nothing", 404),
        ("newer?message=-1", 422),
        ("timeline?around=e2", 200),
    ):
        response = await client.get(f"{LOGS}/{session_id}/{query}", headers=cookie)
        assert response.status_code == status, query
    other = await TenantFixture.build(tenant.runtime, "other")
    theirs = await long_session(other, 4)
    for part in ("transcript", "timeline", "newer"):
        assert (await client.get(f"{LOGS}/{theirs}/{part}", headers=cookie)).status_code == 404


async def test_an_error_is_counted_once_and_alike_everywhere(tenant: TenantFixture) -> None:
    session_id = await tenant.session()
    dispatch = uuid4()
    types = (
        *("message.received", "skill.invoked", "skill.failed", "skill.retry_scheduled", "skill.invoked"),
        # The step failed because its skill did: one failure.
        *("skill.failed", "state.changed", "flow.step_failed", "skill.retired"),
        # It failed by itself, then because something stopped it.
        *("skill.succeeded", "state.changed", "flow.step_failed", "flow.step_failed", "budget.exceeded"),
    )
    for position, type_ in enumerate(types, 1):
        await tenant.event(session_id, position, type_, at=NOW, dispatch_id=dispatch)
    message_id = uuid4()
    body = {"kind": "text", "body": "hello"}
    await tenant.message(session_id, 1, body, message_id=message_id, at=NOW, dispatch_id=dispatch)
    async with reading(tenant, session_id) as read:
        figures = await read.digest()
        assert (figures.errors, figures.warnings, figures.first_error) == (3, 3, 3)
        shown = {name: await read.timeline(LATEST, show=name) for name in ("all", "errors", "warnings")}
        errors = [event.position for event in shown["errors"].part.items]
        assert errors == [3, 6, 12]
        assert [event.position for event in shown["warnings"].part.items] == [4, 9, 14]
        assert [event.position for event in pages.errors_among(shown["all"].part.items, wording.ERRORS)] == errors
        steps = (await read.transcript(LATEST)).steps[dispatch]
        assert (steps.count, steps.errors, steps.first_error) == (14, 3, 3)


def test_every_filter_of_the_timeline_keeps_something() -> None:
    assert detail.SHOWN["errors"] is wording.ERRORS
    assert {"skill.failed", "dispatch.orphaned"} <= set(wording.ERRORS.types)
    assert {"skill.invoked", "skill.succeeded"} <= set(wording.CALLS.types)


async def test_the_digest_says_whether_something_stands_in_the_outbox(tenant: TenantFixture) -> None:
    replied, mailed = await tenant.session(), await tenant.session()
    await add_entry(tenant, session_id=mailed)
    for session_id, expected in ((replied, False), (mailed, True)):
        async with reading(tenant, session_id) as read:
            assert (await read.digest()).has_outbox_entries is expected
