"""The filters that must read something before they are SQL: names become ids, and so do rare phones and words.

What many sessions have (a short part of a number, a common word) stays a test for the walk: then the newest sessions
have enough of it. Which of the two it is, is found out by asking an index for a bounded number of hits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from dragoman.domain.outcomes import Outcome
from dragoman.domain.search_words import Search
from dragoman.domain.skill_calls import SkillCalls
from dragoman.store import phone_numbers
from dragoman.store.contacts import aliases
from dragoman.store.conversation_list import late_messages
from dragoman.store.conversation_list.conditions import CompiledFilters, Condition
from dragoman.store.database import Connection

MOST_CONTACTS = 300
MOST_HITS = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterLookup:
    """Where and for whom something is looked up; with ``whole_numbers`` a phone is found whole only,
    and no digits in texts. ``since`` is what the list begins with, if it has a beginning."""

    connection: Connection
    tenant_id: UUID
    since: datetime | None
    words_since: datetime
    whole_numbers: bool


async def by_partner(lookup: FilterLookup, found: CompiledFilters, partner: UUID | str) -> None:
    """Narrow *found* to a business partner, by number or id."""
    if isinstance(partner, str):
        known = await lookup.connection.fetchval(
            "SELECT business_partner_id FROM business_partner WHERE tenant_id = $1 AND number = $2",
            lookup.tenant_id,
            partner,
        )
        if known is None:
            found.impossible = True
            return
        partner = known
    found.add(Condition("s.business_partner_id = {}", (partner,)))


async def by_channel(lookup: FilterLookup, found: CompiledFilters, channels: Sequence[UUID | str]) -> None:
    """Narrow *found* to channel accounts, a kind of channel being all of its accounts."""
    # There are few accounts, and each has an index in the list's order.
    known = await lookup.connection.fetch(
        "SELECT channel_account_id, channel FROM channel_account WHERE tenant_id = $1", lookup.tenant_id
    )
    of_kinds = [row["channel_account_id"] for row in known if row["channel"] in channels]
    accounts = list(dict.fromkeys([*(each for each in channels if isinstance(each, UUID)), *of_kinds]))
    if len(of_kinds) < len(known) or not known:
        found.add([Condition("s.channel_account_id = {}", (account,)) for account in accounts])


async def by_phone(lookup: FilterLookup, found: CompiledFilters, phone: str) -> None:
    """Narrow *found* to the contacts who have, or ever had, a number that *phone* finds."""
    wanted = phone_numbers.number_patterns(phone, whole=lookup.whole_numbers)
    if not wanted:
        found.impossible = True
        return
    if all(len(one.part) >= aliases.SHORTEST_PART for one in wanted):
        ids = await aliases.contacts_with_number(lookup.connection, wanted, most=MOST_CONTACTS + 1)
        if len(ids) <= MOST_CONTACTS:
            found.impossible = not ids
            found.add(Condition("s.contact_id = ANY ({}::uuid[])", (ids,)))
            return
    found.phones = [one.pattern for one in wanted]


async def by_past_outcome(lookup: FilterLookup, found: CompiledFilters, outcomes: Sequence[Outcome]) -> None:
    """Narrow *found* to the sessions that have one of *outcomes* or had it before their present one."""
    values = [str(outcome) for outcome in outcomes]
    rows = await lookup.connection.fetch(
        "SELECT session_id FROM past_outcome WHERE tenant_id = $1 AND outcome = ANY ($2::text[]) LIMIT $3",
        lookup.tenant_id,
        values,
        MOST_HITS + 1,
    )
    have = [Condition("s.outcome = {}", (value,)) for value in values]
    if not rows:
        found.add(have)
    elif len(rows) <= MOST_HITS:
        # No session fits two of the conditions, or it would stand in the list twice.
        had = "(s.session_id = ANY ({}::uuid[]) AND s.outcome <> ALL ({}::text[]))"
        found.add([*have, Condition(had, (list({row["session_id"] for row in rows}), values))])
    else:
        had = (
            "(s.outcome <> ALL ({}::text[]) AND EXISTS (SELECT FROM past_outcome p WHERE p.tenant_id = s.tenant_id "
            "AND p.session_id = s.session_id AND p.outcome = ANY ({}::text[])))"
        )
        found.add([*have, Condition(had, (values, values))])


async def by_undelivered(lookup: FilterLookup, found: CompiledFilters, wanted: bool) -> None:
    """Narrow *found* to the sessions in which a reply did not arrive, or to all others."""
    failed = "o.message_id IS NOT NULL AND (o.delivery = 'failed' OR o.delivery IS NULL AND o.status = 'FAILED')"
    rows = await lookup.connection.fetch(
        f"SELECT session_id FROM outbox_entry o WHERE o.tenant_id = $1 AND {failed} LIMIT $2",
        lookup.tenant_id,
        MOST_HITS + 1,
    )
    ids = list({row["session_id"] for row in rows if row["session_id"] is not None})
    if len(rows) <= MOST_HITS:
        found.impossible = found.impossible or (wanted and not ids)
        among = "s.session_id = ANY ({}::uuid[])" if wanted else "s.session_id <> ALL ({}::uuid[])"
        found.add(Condition(among, (ids,)))
        return
    exists = "EXISTS" if wanted else "NOT EXISTS"
    of_session = f"o.tenant_id = s.tenant_id AND o.session_id = s.session_id AND {failed}"
    found.add(Condition(f"{exists} (SELECT FROM outbox_entry o WHERE {of_session})"))


async def by_end(lookup: FilterLookup, found: CompiledFilters, until: datetime) -> None:
    """Narrow *found* to the sessions that were last active before *until*, or have a message that came too late for it.

    Such a message was written before *until*, and not before the list's beginning.
    """
    ids = await late_messages.sessions_with(
        lookup.connection, lookup.tenant_id, lookup.since, until, most=MOST_HITS + 1
    )
    before = Condition("s.last_activity_at < {}", (until,))
    if not ids:
        found.add(before)
        return
    late = Condition("s.session_id = ANY ({}::uuid[])", (ids,))
    if len(ids) > MOST_HITS:
        late = late_messages.session_has_one(lookup.since, until)
    # No session fits both, or it would stand in the list twice.
    found.add([before, Condition(f"(s.last_activity_at >= {{}} AND {late.sql})", (until, *late.values))])


async def by_skill_calls(lookup: FilterLookup, found: CompiledFilters, calls: SkillCalls) -> None:
    """Narrow *found* to the sessions in which skills were called so."""
    parts = [
        (column, value)
        for column, value in (
            ("skill = {}", calls.skill),
            ("result = {}", None if calls.result is None else str(calls.result)),
            ("at >= {}", calls.since),
            ("at < {}", calls.until),
        )
        if value is not None
    ]
    values = [value for _, value in parts]
    numbered = "".join(f" AND i.{column.format(f'${number}')}" for number, (column, _) in enumerate(parts, 3))
    rows = await lookup.connection.fetch(
        "SELECT session_id FROM skill_invocation i WHERE tenant_id = $1" + numbered + " LIMIT $2",
        lookup.tenant_id,
        MOST_HITS + 1,
        *values,
    )
    ids = list({row["session_id"] for row in rows})
    if len(rows) <= MOST_HITS:
        found.impossible = found.impossible or not ids
        found.add(Condition("s.session_id = ANY ({}::uuid[])", (ids,)))
        return
    # So many that a walk soon has enough of them; what cannot be among them is passed over without a look.
    if calls.since is not None:
        found.add(Condition("s.last_activity_at >= {}", (calls.since,)))
    if calls.until is not None:
        found.add(Condition("s.started_at < {}", (calls.until,)))
    named = "".join(f" AND i.{column}" for column, _ in parts)
    called = "EXISTS (SELECT FROM skill_invocation i WHERE i.tenant_id = s.tenant_id AND i.session_id = s.session_id"
    found.add(Condition(f"{called}{named})", tuple(values)))


async def by_words(lookup: FilterLookup, found: CompiledFilters, q: str) -> None:
    """Narrow *found* to the sessions in which *q* was said. Here, and nowhere else, it is parsed."""
    found.search = search = Search.parse(q, without_numbers=lookup.whole_numbers)
    if search.empty:
        found.impossible = True
        return
    query = search.query(lookup.tenant_id)
    rows = await lookup.connection.fetch(
        "SELECT sessions_with_words($1::text::tsquery, $2, $3) AS id", query, lookup.words_since, MOST_HITS + 1
    )
    # All that a contact was ever known by finds each of their sessions, those from before and after it, too.
    known = await aliases.contacts_with_words(lookup.connection, query, most=MOST_CONTACTS + 1)
    if len(rows) <= MOST_HITS:
        ids = list({row["id"] for row in rows})
        said = Condition("s.session_id = ANY ({}::uuid[])", (ids,))
        if known and len(known) <= MOST_CONTACTS:
            found.add(
                [
                    said,
                    Condition(
                        "(s.contact_id = ANY ({}::uuid[]) AND NOT s.session_id = ANY ({}::uuid[]))", (known, ids)
                    ),
                ]
            )
        else:
            found.impossible = not ids
            found.add(said)
    else:
        found.words, found.words_since = query, lookup.words_since
