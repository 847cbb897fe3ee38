"""The screens of the Conversation Logs that are measured, each with the best SQL for it that we know how to write.

The SQL is by hand and for this one screen; it returns what the screen shows and is run without Python around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg

from bench.load.conversations import LONG_MESSAGES, MIDDLE_MESSAGES
from bench.load.people import COMMON_SKILL, RARE_SKILL
from bench.load.vocabulary import COMMON_WORD, RARE_WORD
from dragoman.domain.search_words import Search
from dragoman.store.conversation_list import cursors as paging
from dragoman.store.conversation_list.filters import NEWEST

LIST = "/communications/automation/logs"
API = "/api/v1/conversations"

ROW = (
    "SELECT session_id, thread_id, contact_id, channel_account_id, state, outcome, intent, skill, contact_name, "
    "contact_phone, business_partner_name, channel, channel_display, agent_name, last_user_message, message_count, "
    "error_count, cost_micros, started_at, last_activity_at, resolved_at FROM session s WHERE tenant_id = $1 "
)
NEWEST_FIRST = " ORDER BY last_activity_at DESC, session_id DESC LIMIT 51"


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A screen: its name, its query string, and statements with their values beside the tenant."""

    name: str
    query: str
    best: tuple[tuple[str, tuple[Any, ...]], ...]
    path: str = LIST
    api: bool = True
    headers: tuple[tuple[str, str], ...] = ()


def _rows(where: str, *values: Any, order: str = NEWEST_FIRST) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    return ((ROW + where + order, values),)


async def screens(connection: asyncpg.Connection[asyncpg.Record], tenant_id: UUID) -> list[Screen]:
    """All of them, with values that the database has; *connection* sees the tenant's rows."""
    phone = await connection.fetchval("SELECT contact_phone FROM session WHERE tenant_id = $1 LIMIT 1", tenant_id)
    newest = await connection.fetchval("SELECT max(last_activity_at) FROM session WHERE tenant_id = $1", tenant_id)
    partner = await connection.fetchval(
        "SELECT business_partner_id FROM session WHERE tenant_id = $1 AND business_partner_id IS NOT NULL LIMIT 1",
        tenant_id,
    )
    account = await connection.fetchval(
        "SELECT channel_account_id FROM session WHERE tenant_id = $1 AND channel_display = '+43 1 555 0102' LIMIT 1",
        tenant_id,
    )
    day = newest - timedelta(days=40)
    day_from, day_to = f"{day:%Y-%m-%d}", f"{day + timedelta(days=1):%Y-%m-%d}"
    plain = [
        Screen(name="first page", query="", best=_rows("")),
        Screen(name="state, rare", query="state=WITH_AGENT", best=_rows("AND state = 'WITH_AGENT'")),
        Screen(name="state, common", query="state=RESOLVED", best=_rows("AND state = 'RESOLVED'")),
        Screen(name="outcome, rare", query="outcome=SESSION_BUSY", best=_rows("AND outcome = 'SESSION_BUSY'")),
        Screen(name="outcome, common", query="outcome=SUCCESS", best=_rows("AND outcome = 'SUCCESS'")),
        Screen(name="skill, rare", query=f"skill={RARE_SKILL}", best=_rows("AND skill = $2", RARE_SKILL)),
        Screen(name="skill, common", query=f"skill={COMMON_SKILL}", best=_rows("AND skill = $2", COMMON_SKILL)),
        Screen(
            name="business partner", query=f"business_partner={partner}",
            best=_rows("AND business_partner_id = $2", partner),
        ),
        Screen(name="channel, rare", query=f"channel={account}", best=_rows("AND channel_account_id = $2", account)),
        Screen(name="agent", query="agent=Olga Petrenko", best=_rows("AND agent_name = 'Olga Petrenko'")),
        Screen(name="has errors", query="errors=true", best=_rows("AND error_count > 0")),
        Screen(
            name="a day", query=f"from={day_from}&to={day_from}",
            best=_rows(f"AND last_activity_at >= '{day_from}Z' AND last_activity_at < '{day_to}Z'"),
        ),
        Screen(
            name="rare outcome and rare skill", query=f"outcome=SESSION_BUSY&skill={RARE_SKILL}",
            best=_rows("AND outcome = 'SESSION_BUSY' AND skill = $2", RARE_SKILL),
        ),
        Screen(
            name="rare outcome and common skill", query=f"outcome=SESSION_BUSY&skill={COMMON_SKILL}",
            best=_rows("AND outcome = 'SESSION_BUSY' AND skill = $2", COMMON_SKILL),
        ),
        Screen(
            name="common outcome and rare skill", query=f"outcome=SUCCESS&skill={RARE_SKILL}",
            best=_rows("AND outcome = 'SUCCESS' AND skill = $2", RARE_SKILL),
        ),
        Screen(
            name="common outcome and common skill", query=f"outcome=SUCCESS&skill={COMMON_SKILL}",
            best=_rows("AND outcome = 'SUCCESS' AND skill = $2", COMMON_SKILL),
        ),
        Screen(
            name="rare state and an agent", query="state=WITH_AGENT&agent=Olga Petrenko",
            best=_rows("AND state = 'WITH_AGENT' AND agent_name = 'Olga Petrenko'"),
        ),
        Screen(
            name="longest first", query="sort=-duration",
            best=_rows("", order=" ORDER BY lasted_ms DESC, session_id DESC LIMIT 51"),
        ),
        Screen(
            name="most messages first", query="sort=-messages",
            best=_rows("", order=" ORDER BY message_count DESC, session_id DESC LIMIT 51"),
        ),
    ]  # fmt: skip
    return [*plain, await _deep(connection, tenant_id), *_phones(phone), *_words(tenant_id)]


async def _deep(connection: asyncpg.Connection[asyncpg.Record], tenant_id: UUID) -> Screen:
    count = await connection.fetchval("SELECT count(*) FROM session WHERE tenant_id = $1", tenant_id)
    row = await connection.fetchrow(
        "SELECT last_activity_at, session_id FROM session WHERE tenant_id = $1 "
        f"ORDER BY last_activity_at DESC, session_id DESC OFFSET {count * 2 // 3} LIMIT 1",
        tenant_id,
    )
    assert row is not None
    return Screen(
        name="deep page",
        query=f"cursor={paging.encode(paging.cursor_of(row, NEWEST), NEWEST)}",
        best=_rows("AND (last_activity_at, session_id) < ($2, $3)", row["last_activity_at"], row["session_id"]),
    )


_KNOWN_BY = "AND contact_id IN (SELECT contacts_with_number(ARRAY[$2], ARRAY['%' || $2 || '%'], 300))"


def _phones(phone: str) -> list[Screen]:
    digits = phone[-7:]
    return [
        Screen(
            name="phone, rare part", query=f"phone={digits[:3]} {digits[3:]}",
            best=_rows(_KNOWN_BY, digits),
        ),
        Screen(name="phone, common part", query="phone=0660", best=_rows("AND contact_phone LIKE '%660%'")),
        Screen(
            name="phone, part that nobody has", query="phone=98765432101",
            best=_rows("AND contact_id IN (SELECT contacts_with_number('{98765432101}', '{%98765432101%}', 300))"),
        ),
    ]  # fmt: skip


def _words(tenant_id: UUID) -> list[Screen]:
    def asked(q: str) -> str:
        return Search.parse(q).query(tenant_id)

    rare = _rows(
        "AND session_id IN (SELECT sessions_with_words($2::text::tsquery, '-infinity', 3001))", asked(RARE_WORD)
    )
    common = _rows(
        "AND EXISTS (SELECT FROM message_words w WHERE w.tenant_id = $1 AND w.session_id = s.session_id "
        "AND w.at >= s.started_at - interval '1 day' AND w.at <= s.last_activity_at + interval '1 day' "
        "AND w.words @@ $2::text::tsquery)",
        asked(COMMON_WORD),
    )
    return [
        Screen(name="words, rare", query=f"q={RARE_WORD}", best=rare),
        Screen(name="words, common", query=f"q={COMMON_WORD}", best=common),
    ]


async def drawers(connection: asyncpg.Connection[asyncpg.Record], tenant_id: UUID) -> list[Screen]:
    """The drawer of an ordinary conversation and of one that never ends."""
    found = []
    for count in (MIDDLE_MESSAGES, LONG_MESSAGES):
        session_id = await connection.fetchval(
            "SELECT session_id FROM session WHERE tenant_id = $1 AND message_count = $2 LIMIT 1", tenant_id, count
        )
        if session_id is None:
            continue
        best = (
            (ROW + "AND session_id = $2", (session_id,)),
            *(
                (
                    f"SELECT * FROM {table} WHERE tenant_id = $1 AND session_id = $2 "
                    f"AND at >= (SELECT started_at FROM session WHERE tenant_id = $1 AND session_id = $2) "
                    f"AND at <= (SELECT last_activity_at FROM session WHERE tenant_id = $1 AND session_id = $2) "
                    f"ORDER BY {place} DESC LIMIT {most}",
                    (session_id,),
                )
                for table, place, most in (("message", "ordinal", 100), ("audit_event", "position", 200))
            ),
        )
        found.append(
            Screen(
                name=f"drawer of {count} messages", query="", best=best, path=f"{LIST}/{session_id}", api=False,
                headers=(("HX-Request", "true"), ("HX-Target", "aside#drawer")),
            )
        )  # fmt: skip
    return found
