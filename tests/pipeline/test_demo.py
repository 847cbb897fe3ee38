"""The demo as ``dragoman demo`` makes it: what agents did in its past, and what is with them when it begins."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from cryptography.fernet import Fernet

from dragoman.cli import demo, past, standin
from dragoman.cli.compose import open_runtime
from dragoman.domain.handoff import service_level
from dragoman.domain.nouns import Policy
from dragoman.domain.outbox_status import OutboxStatus
from dragoman.domain.outcomes import Outcome
from dragoman.runtime import Runtime, SystemClock
from dragoman.services.audit.verify_audit import verify_audit
from dragoman.services.handoff.watch_handoffs import watch_handoffs
from dragoman.settings import Settings
from dragoman.store.accounts import login_sessions, user_accounts
from dragoman.store.catalogue import skills
from dragoman.store.embedded import DatabaseURLs
from dragoman.store.handoff import agents
from dragoman.store.insights import questions, usage
from dragoman.web.app import create_app
from dragoman_shop.agents import AGENTS
from dragoman_shop.care import WAYS, Way
from dragoman_shop.conversations import Script, conversations, with_open_ones
from dragoman_shop.open_now import SCENES
from dragoman_shop.registry import RETIRED
from dragoman_shop.unserved import QUESTIONS
from dragoman_shop.unusual import GROUP_NAME, SUNDAY, UNUSUAL, VISITOR, latest_sunday
from dragoman_shop.utterances import SAID
from tests.usage_by_hand import differences

UNTIL = SystemClock().now()


@dataclass(frozen=True, slots=True)
class MadeDemo:
    """A demo that was made, as it is at its beginning; ``access`` is what scripts are told."""

    playing: standin.StandinCredentials
    runtime: Runtime
    tenant_id: UUID
    clock: past.MovedClock
    access: dict[str, Any]

    async def rows(self, query: str) -> list[Any]:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return await connection.fetch(query)

    async def policy(self) -> Policy:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return (await skills.dispatch_rules(connection, self.tenant_id)).policy

    async def open_rows(self) -> dict[str, Any]:
        """The open conversations by their contacts."""
        found = await self.rows(
            "SELECT s.contact_name, s.contact_id, s.state, s.error_count, h.* FROM handoff h "
            "JOIN session s USING (tenant_id, session_id) WHERE h.ended_at IS NULL ORDER BY h.escalated_at"
        )
        return {row["contact_name"]: row for row in found}


def short(count: int, seed: int, *, days: int) -> list[Script]:
    """Those of the demo's conversations that come to a person, one of each kind that the tour shows, the last few."""
    scripts = conversations(count, seed, days=days)
    last = scripts[-len(past.JUST_NOW) :]
    shown = [latest(scripts, is_on(subject)) for subject in ("status_of", "pay", "cancel")]
    # Some of them go on with something else, which has another outcome.
    shown += filter(is_on("points"), scripts)
    shown += [latest(scripts, lambda script: len(script.steps) == 1), latest(scripts, pays_by_menu)]
    wanted = [script for script in scripts if script.escalates or script in shown]
    return [*(script for script in wanted if script not in last), *last]


def latest(scripts: list[Script], is_wanted: Callable[[Script], bool]) -> Script:
    """The last of those that are over when the demo begins."""
    return next(one for one in reversed(scripts[: -len(past.JUST_NOW)]) if not one.escalates and is_wanted(one))


def is_on(subject: str) -> Callable[[Script], bool]:
    """Whether a conversation begins with this subject."""

    def is_wanted(script: Script) -> bool:
        begins = script.steps[0].message.get("text", {}).get("body", "")
        return any(begins.startswith(said.partition("{")[0]) for said in SAID[subject][script.person.language])

    return is_wanted


def pays_by_menu(script: Script) -> bool:
    return any("menu:pay" in json.dumps(step.message) for step in script.steps)


@pytest.fixture
async def made(database_urls: DatabaseURLs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MadeDemo]:
    """The demo with its real set-up, without most of the conversations that the bot managed alone."""
    monkeypatch.setattr(past, "conversations", short)
    playing = standin.make()
    settings = Settings(data_directory=tmp_path, secret_key=Fernet.generate_key().decode())
    settings = standin.point_at(settings, playing)
    await demo._make_partitions(database_urls, UNTIL)
    async with open_runtime(settings, database_urls) as runtime:
        tenant_id, access = await demo._furnish(runtime, playing, UNTIL - timedelta(days=past.DAYS))
    await past.play(settings, database_urls, tenant_id, playing, until=UNTIL)
    clock = past.MovedClock(UNTIL)
    async with open_runtime(settings, database_urls, clock=clock) as runtime:
        yield MadeDemo(playing, runtime, tenant_id, clock, access)


async def test_the_demo_has_every_way_in_which_agents_work_and_nobody_is_stuck(made: MadeDemo) -> None:
    assert set(made.access["users"]) == {"admin", "auditor", "agent"}
    await check_usage(made)
    await check_past(made)
    open_ones = await made.open_rows()
    await check_open(made, open_ones)
    await check_unusual(made)
    await check_outbox(made)
    await check_tour(made)
    await check_visit(made)
    await check_that_it_lasts(made, open_ones)
    verdict = await verify_audit(made.runtime, made.tenant_id)
    assert (verdict.breaches, verdict.trouble) == ((), "")
    assert verdict.sessions >= len(WAYS) + len(SCENES)


async def check_usage(made: MadeDemo) -> None:
    """On every day of the demo the figures are those of the log, and three questions of last week have no answer."""

    async def rows(query: str, *values: object) -> list[dict[str, Any]]:
        async with made.runtime.database.tenant(made.tenant_id) as connection:
            return [dict(row) for row in await connection.fetch(query, *values)]

    today = UNTIL.replace(hour=0, minute=0, second=0, microsecond=0)
    dispatches = 0
    (removal,) = await rows("SELECT cut_before FROM retention_run")
    # What retention has removed of the log stays in the figures, and has nothing left to be compared with.
    for back in range(-1, (today - removal["cut_before"]).days + 1):
        since, until = today - timedelta(days=back), today - timedelta(days=back - 1)
        async with made.runtime.database.tenant(made.tenant_id) as connection:
            found = await usage.figures(connection, made.tenant_id, since, until)
        assert await differences(rows, found, since, until) == [], since
        dispatches += found.total.dispatches
    assert dispatches > 0
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        asked = await questions.questions(
            connection, made.tenant_id, today - timedelta(days=6), today + timedelta(days=1), limit=50, examples=9
        )
    groups = [{example.text for example in question.examples} for question in asked.open]
    for texts in QUESTIONS:
        assert any(len(group & set(texts)) >= 2 for group in groups), texts


async def check_past(made: MadeDemo) -> None:
    events = await made.rows("SELECT type, payload, actor_name FROM audit_event WHERE type LIKE 'handoff.%'")
    of = {row["type"] for row in events}
    assert {"handoff.claimed", "handoff.unassigned", "handoff.ended", "handoff.unattended"} <= of
    payloads = [(row["type"], as_dict(row["payload"])) for row in events]
    endings = Counter(payload["how"] for kind, payload in payloads if kind == "handoff.ended")
    assert {"resolved", "returned", "timed_out"} == set(endings)
    assert endings["resolved"] > endings.total() / 2
    reasons = {payload["reason"] for kind, payload in payloads if kind == "handoff.ended"}
    assert {"Solved", "Question answered", "The contact did not answer"} <= reasons
    takings = {payload["how"] for kind, payload in payloads if kind == "handoff.claimed"}
    assert takings == {"claimed", "assigned", "taken_over"}
    assert {row["actor_name"] for row in events} >= {agent.name for agent in AGENTS}
    kinds = {row["kind"] for row in await made.rows("SELECT DISTINCT kind FROM message WHERE sender = 'agent'")}
    assert kinds == {"text", "note", "template"}
    bot_after = await made.rows(
        "SELECT m.ordinal FROM message m JOIN audit_event e USING (tenant_id, session_id) WHERE m.sender = 'bot' "
        "AND e.type = 'handoff.ended' AND e.payload ->> 'how' = 'returned' AND m.at > e.at"
    )
    assert bot_after
    unsent = await made.rows("SELECT status FROM outbox_entry WHERE by_agent AND status <> 'SENT'")
    assert not unsent


async def check_open(made: MadeDemo, open_ones: dict[str, Any]) -> None:
    assert len(open_ones) == len(SCENES)
    policy = await made.policy()
    owners = Counter(row["owner_name"] for row in open_ones.values())
    assert owners == {"": 5, "Ana Lima": 3, "Jonas Weber": 1}
    levels = Counter(
        service_level(row["waiting_since"], policy.handoff.target_seconds, UNTIL)
        for row in open_ones.values()
        if not row["owner_name"]
    )
    assert levels == {"late": 1, "soon": 1, "good": 3}
    assert [row["error_count"] > 0 for row in open_ones.values() if not row["owner_name"]].count(True) == 1
    forgotten = [row for row in open_ones.values() if not row["owner_name"] and waited(row) > timedelta(minutes=12)]
    assert len(forgotten) == 3
    for row in forgotten:
        noted = row["unattended_at"] - row["escalated_at"]
        assert timedelta(minutes=10) <= noted < timedelta(minutes=12)
    requested = await made.rows(
        "SELECT e.payload FROM audit_event e JOIN session s USING (tenant_id, session_id) "
        "WHERE e.type = 'handoff.requested' AND s.state = 'WITH_AGENT' AND s.error_count > 0"
    )
    assert [set(as_dict(row["payload"])["collected"]) for row in requested] == [{"order_number"}]
    windows = await made.rows(
        "SELECT contact_id, max(at) AS at FROM message JOIN session USING (tenant_id, session_id) "
        "WHERE sender = 'contact' GROUP BY contact_id"
    )
    last = {row["contact_id"]: row["at"] for row in windows}
    closed = [row["owner_name"] for row in open_ones.values() if is_closed(last[row["contact_id"]])]
    assert closed == ["Ana Lima"]
    drafts = await made.rows("SELECT agent_name, is_shared FROM reply_draft ORDER BY is_shared")
    assert [tuple(row) for row in drafts] == [("Ana Lima", False), ("Chiara Neri", True)]
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        team = await agents.list_all(connection, made.tenant_id)
    assert {one.name: one.languages for one in team if one.languages} == {one.name: one.languages for one in AGENTS}


async def check_unusual(made: MadeDemo) -> None:
    """Each conversation of the last hours that goes another way than most has gone that way."""
    told = await made.rows(
        "SELECT s.contact_name, s.contact_phone, s.session_id, count(m.*) AS items, "
        "array_agg(m.sender || ' ' || coalesce(m.sender_name, '') ORDER BY m.ordinal) AS senders, "
        "count(m.*) FILTER (WHERE m.at - m.channel_at > interval '3 hours') AS late, "
        "count(m.*) FILTER (WHERE m.kind = 'reaction' AND m.at > s.resolved_at) AS afterwards, "
        "count(m.*) FILTER (WHERE q.session_id <> m.session_id) AS quoted "
        "FROM session s LEFT JOIN message m USING (tenant_id, session_id) LEFT JOIN outbox_entry o "
        "ON (o.tenant_id, o.channel_message_id) = (m.tenant_id, m.reply_to) "
        "LEFT JOIN message q ON (q.tenant_id, q.message_id) = (o.tenant_id, o.message_id) GROUP BY 1, 2, 3"
    )
    found: dict[str, list[Any]] = {}
    for row in told:
        found.setdefault(row["contact_name"] or row["contact_phone"] or "", []).append(row)
    (echoed,), (group,) = found["Hannah Whitlock"], found[GROUP_NAME]
    assert [who.split(" ")[0] for who in echoed["senders"]] == ["contact", "bot", "agent", "contact", "agent"]
    assert "agent Phone app" in echoed["senders"]
    assert set(group["senders"]) == {"contact Nadia Radcliffe", "contact Owen Radcliffe"}
    assert [row["late"] for row in found["Leonhard Pichler"]] == [1]
    assert [row["items"] for row in found["Agnes Thornbury"]] == [0], "retention has removed them"
    assert len(found["Dominic Harrow"]) == 1
    assert sorted(row["quoted"] for row in found["Bridget Colley"]) == [0, 1]
    assert [row["afterwards"] for row in found["Solène Garrigue"]] == [1]
    assert len(found["@quiet.heron"]) == len(found["+447700900917"]) == len(found[""]) == 1
    assert [row["items"] for row in found["Thiago Peixoto"]] == [4]
    assert [(row["items"], row["contact_phone"]) for row in found["Rocío Cabrera"]] == [(5, "+34699000905")]


TOUR = re.compile(r"\[([^\]]+)\]\(http://127\.0\.0\.1:8000(/[^)]+)\)")
LOGS = "/communications/automation/logs"
README = Path(__file__).parents[2] / "README.md"


async def check_tour(made: MadeDemo) -> None:
    """Every link of the README's tour leads to what it promises."""
    tour = dict(TOUR.findall(README.read_text(encoding="utf-8")))
    promised = {**{words_of(outcome): with_outcome(outcome) for outcome in Outcome}, **PROMISED}
    assert tour.keys() == promised.keys()
    headers = await as_admin(made)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(made.runtime)), base_url=made.runtime.settings.base_url
    ) as browser:
        for label, address in tour.items():
            page = await browser.get(address, headers=headers)
            assert page.status_code == 200, label
            ids = re.findall(rf'href="{LOGS}/([0-9a-f-]{{36}})', page.text)
            await promised[label](made, [UUID(session_id) for session_id in dict.fromkeys(ids)], page.text)
            for session_id in ids[:1]:
                opened = await browser.get(f"{LOGS}/{session_id}", headers=headers)
                assert opened.status_code == 200, label


async def as_admin(made: MadeDemo) -> dict[str, str]:
    """The header of a browser in which the demo's administrator is logged in."""
    async with made.runtime.database.tenant(made.tenant_id) as connection:
        users = {user.email: user for user in await user_accounts.list_all(connection, made.tenant_id)}
        admin = users[made.access["users"]["admin"]["email"]]
        ticket = await login_sessions.open_login_session(
            connection, made.tenant_id, admin.user_id, now=made.clock.now()
        )
    return {"Cookie": f"dragoman_session={ticket.secret}"}


Promise = Callable[[MadeDemo, list[UUID], str], Awaitable[None]]


def words_of(outcome: Outcome) -> str:
    return outcome.replace("_", " ").title()


def with_outcome(outcome: Outcome) -> Promise:
    async def holds(made: MadeDemo, ids: list[UUID], page: str) -> None:
        assert {row["outcome"] for row in await of_sessions(made, ids)} == {outcome}

    return holds


async def of_sessions(made: MadeDemo, ids: list[UUID]) -> list[Any]:
    assert ids
    listed = ", ".join(f"'{session_id}'" for session_id in ids)
    return await made.rows(f"SELECT * FROM session WHERE session_id IN ({listed})")


async def of_messages(made: MadeDemo, ids: list[UUID]) -> list[Any]:
    assert ids
    listed = ", ".join(f"'{session_id}'" for session_id in ids)
    return await made.rows(f"SELECT * FROM message WHERE session_id IN ({listed})")


async def agents_wrote(made: MadeDemo, ids: list[UUID], page: str) -> None:
    wrote = {row["session_id"] for row in await of_messages(made, ids) if row["sender"] == "agent"}
    assert wrote
    assert {row["outcome"] for row in await of_sessions(made, [*wrote])} <= {Outcome.TO_AGENT, Outcome.HANDOFF}


async def came_late(made: MadeDemo, ids: list[UUID], page: str) -> None:
    days = [
        (row["channel_at"].weekday(), row["at"].weekday())
        for row in await of_messages(made, ids)
        if row["channel_at"] and row["at"] - row["channel_at"] > timedelta(days=1)
    ]
    assert days == [(1, 6)]


async def has_another_number(made: MadeDemo, ids: list[UUID], page: str) -> None:
    (notice,) = [as_dict(row["content"]) for row in await of_messages(made, ids) if row["kind"] == "system"]
    assert "34699000905" in json.dumps(notice)


async def sent_everything(made: MadeDemo, ids: list[UUID], page: str) -> None:
    sent = [row for row in await of_messages(made, ids) if row["sender"] == "contact"]
    media = [as_dict(row["content"])["media"] for row in sent if row["kind"] == "media"]
    assert sorted(media) == ["audio", "document", "image", "sticker", "video", "voice"]
    assert {row["kind"] for row in sent} == {"text", "media", "location", "contacts"}
    files = await made.rows("SELECT DISTINCT state FROM media_file")
    assert "stored" in {row["state"] for row in files}


async def is_retired(made: MadeDemo, ids: list[UUID], page: str) -> None:
    assert RETIRED["loyalty.points"] in html.unescape(page)
    assert "Ada Moreno" in page


async def is_truncated(made: MadeDemo, ids: list[UUID], page: str) -> None:
    (session,) = await of_sessions(made, ids)
    (removal,) = await made.rows("SELECT cut_before FROM retention_run")
    assert session["started_at"] < removal["cut_before"]
    assert await of_messages(made, ids) == []


async def changed_language(made: MadeDemo, ids: list[UUID], page: str) -> None:
    said = [row for row in await of_messages(made, ids) if row["sender"] == "bot"]
    first, second = (as_dict(row["content"])["body"] for row in sorted(said, key=lambda row: row["ordinal"])[:2])
    assert first.startswith("Hallo Fiona!")
    assert second.startswith("Order VF-50917 ")


async def wrote_to_both(made: MadeDemo, ids: list[UUID], page: str) -> None:
    numbers = {row["channel_display"] for row in await of_sessions(made, ids)}
    assert numbers == {standin.DISPLAY_PHONE_NUMBER, standin.TRADE_DISPLAY_PHONE_NUMBER}


PROMISED: dict[str, Promise] = {
    "Jonas Weber's conversations": agents_wrote,
    "Leonhard Pichler": came_late,
    "Fiona Murray": changed_language,
    "+34 699 00 09 10": has_another_number,
    "Margot Ellery": sent_everything,
    "Loyalty points": is_retired,
    "Agnes Thornbury": is_truncated,
    "Nora Lindqvist": wrote_to_both,
}


async def check_visit(made: MadeDemo) -> None:
    """Whoever starts the demo's server is written to, by the signed webhook."""
    console = httpx.ASGITransport(create_app(made.runtime))
    settings = made.runtime.settings
    _, meta = standin.application(settings, made.playing, http=lambda: httpx.AsyncClient(transport=console))
    await standin.greet(made.playing, meta)
    await meta.close()
    arrived = await made.rows(
        "SELECT c.display_name FROM mailbox m JOIN contact c USING (tenant_id, contact_id) "
        f"WHERE m.progress <> 'done' AND c.phone = '{VISITOR.phone}'"
    )
    assert [row["display_name"] for row in arrived] == [VISITOR.name]


async def check_that_it_lasts(made: MadeDemo, open_ones: dict[str, Any]) -> None:
    """What is open stays open while somebody looks at it the same day, however often the worker looks after it."""
    made.clock.move(UNTIL + timedelta(hours=12))
    await watch_handoffs(made.runtime, made.tenant_id)
    assert (await made.open_rows()).keys() == open_ones.keys()


def waited(row: Any) -> timedelta:
    lasted: timedelta = UNTIL - row["escalated_at"]
    return lasted


def is_closed(last: datetime) -> bool:
    return UNTIL - last > timedelta(hours=24)


def as_dict(payload: Any) -> dict[str, Any]:
    return json.loads(payload) if isinstance(payload, str) else dict(payload)


def test_the_late_message_comes_on_a_sunday_whenever_the_demo_is_made() -> None:
    for hours in range(14 * 24):
        until = UNTIL + timedelta(hours=hours)
        arrives = latest_sunday(until)
        assert arrives.weekday() == SUNDAY
        assert timedelta(hours=1) <= until - arrives <= timedelta(days=7, hours=1)


def test_each_way_of_care_is_told_by_the_demos_own_count_of_conversations() -> None:
    escalating = [script for script in conversations(past.CONVERSATIONS, past.SEED) if script.escalates]
    assert len(escalating) >= len(WAYS)
    ways: set[Way] = set(WAYS)
    assert len(ways) >= 9
    assert all(script.care for script in escalating)


def test_the_page_about_the_demo_names_those_who_are_in_the_inbox() -> None:
    scripts = conversations(past.CONVERSATIONS, past.SEED, days=past.DAYS)
    made = with_open_ones(scripts, past.SEED, timedelta(days=past.DAYS))
    in_inbox = {script.person.name for script in made[len(scripts) :]}
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| (\w+ \w+), ", page, re.MULTILINE))
    assert len(named) >= 5
    assert named | {"Pieter Claes", "Florian Gruber"} <= in_inbox


def test_the_page_about_the_demo_names_those_who_go_another_way() -> None:
    page = (Path(__file__).parents[2] / "docs" / "demo.md").read_text(encoding="utf-8")
    names = [one.person.name for one in UNUSUAL if one.person.name.isascii() or " " in one.person.name]
    assert len(names) >= 7
    for name in ("@quiet.heron", "Unknown contact", GROUP_NAME, *names):
        assert name in page, name


async def check_outbox(made: MadeDemo) -> None:
    """Entries in every status, and the demo's mail server has what it took."""
    rows = await made.rows("SELECT status, channel, recipient, resend_of FROM outbox_entry WHERE listed")
    assert {row["status"] for row in rows} == set(OutboxStatus)
    refused = {
        row["recipient"]: row["status"]
        for row in rows
        if row["status"] in ("FAILED", "RETRYING") and row["channel"] == "email"
    }
    assert refused == {"unknown.customer@example.org": "FAILED", "busy.mailbox@example.com": "RETRYING"}
    webhooks = Counter(row["status"] for row in rows if row["channel"] == "webhook")
    assert webhooks["RETRYING"] == 1, "the warehouse is out of order"
    assert webhooks["SENT"] == webhooks.total() - 1 > 0
    assert [row["status"] for row in rows if row["resend_of"] is not None] == ["SENT"]
    taken = sum(row["channel"] == "email" and row["status"] == "SENT" for row in rows)
    assert len(list((made.runtime.settings.data_directory / "mail-standin").glob("*.eml"))) == taken
