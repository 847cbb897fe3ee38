"""Takes out of every table but the record itself what it knows of a contact.

One statement for each thing that a table may hold of somebody. It needs a connection of the database's owner, and runs
in one transaction with the record's own erasure. :data:`KEPT` names the tables that hold nothing of a contact and why;
a test demands that every table of the database is there or in a statement.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain import erasure
from dragoman.numbering import person_key, spellings
from dragoman.store.database import Connection
from dragoman.store.tenants import next_registry_revision

SHORTEST_NUMBER = 7
SHORTEST_NAME = 5
"""Shorter ones would be found in what has nothing to do with the contact."""

REASON = "the contact was erased"

GONE: Mapping[str, Any] = {"erased": True}
"""What stands where something was said of the contact."""

KEPT: Mapping[str, str] = {
    "agent": "people of ours",
    "agent_request": "ids of ours",
    "alembic_version": "the schema's version",
    "api_token": "people of ours",
    "automation_trigger": "definitions, and addresses that people of ours put into them",
    "business_partner": "the customer directory, which is kept elsewhere and brought here",
    "canned_reply": "texts of ours for everybody",
    "channel_account": "numbers and mailboxes of ours",
    "checkpoint": "digests of seals",
    "checkpoint_due": "ids of ours",
    "checkpoint_leaf": "seals",
    "contact_rate": "ids of ours and times, for a day",
    "classifier_version": "definitions",
    "delivery_item": "digests of the channel's ids, and what became of them",
    "directory": "where tenants' accounts are found",
    "email_template": "definitions",
    "failed_job": "ids of ours, and the class and place of an error",
    "flow": "definitions",
    "handoff": "ids of ours, and people of ours",
    "handoff_attention": "people of ours",
    "lease": "ids of ours",
    "login_failure": "people of ours",
    "login_session": "people of ours",
    "media_object": "files that a message still has",
    "menu": "definitions",
    "message_template": "texts of ours for everybody, as the channel has them",
    "past_outcome": "outcomes by ids of ours",
    "recovery_code": "people of ours",
    "password_reset": "people of ours",
    "rate_window": "ids of ours and counts",
    "retention_anchor": "seals",
    "retention_run": "counts",
    "review_mark": "people of ours",
    "review_note_deleted": "people of ours",
    "review_tag": "words of ours, shared by many sessions",
    "role": "definitions",
    "second_factor": "people of ours",
    "send_hold": "ids of ours, and what the channel said of a number of ours",
    "send_pace": "ids of ours",
    "session_change": "ids of ours and counts",
    "session_check": "positions, and what is wrong there",
    "saved_view_default": "ids of ours",
    "single_sign_on": "settings",
    "single_sign_on_user": "people of ours",
    "skill": "definitions",
    "skill_change": "definitions, and who of ours changed them and why",
    "skill_invocation": "ids of ours, and the class of an error",
    "skill_key": "keys of skills",
    "template_synchronisation": "when the channel was asked, and what it said of an account of ours",
    "tenant": "settings",
    "thread": "ids of ours",
    "trigger_firing": "ids of ours, and keys that other systems asked with",
    "trigger_state": "a place in the change feed",
    "usage_count": "counts",
    "usage_counted": "ids of ours and counts",
    "usage_due": "ids of ours",
    "usage_state": "a time",
    "user_account": "people of ours",
    "verification": "counts",
    "webhook_key": "keys of triggers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasedPerson:
    """All that leads to somebody in the database.

    ``contacts`` are those that turned out to be one; ``values`` the ids that a channel knows them by, phone numbers as
    digits; ``channel_ids`` those of the messages that they wrote and that were written to them.
    """

    contacts: tuple[UUID, ...]
    names: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    sessions: tuple[UUID, ...] = ()
    messages: tuple[UUID, ...] = ()
    channel_ids: frozenset[str] = frozenset()
    deliveries: frozenset[UUID] = field(default_factory=frozenset)

    @property
    def known(self) -> frozenset[str]:
        """What an item of a delivery that is about them holds outright."""
        return self.values | self.channel_ids

    @property
    def numbers(self) -> list[str]:
        """Phone numbers, as digits, that are long enough to be looked for in texts."""
        return sorted(value for value in self.values if value.isdecimal() and len(value) >= SHORTEST_NUMBER)

    @property
    def words(self) -> list[str]:
        """What else is looked for in texts, in small letters."""
        names = {name for name in self.names if len(name) >= SHORTEST_NAME}
        return sorted(word.lower() for word in names | {v for v in self.values if not v.isdecimal()})


async def find(connection: Connection, tenant_id: UUID, said: str) -> list[UUID]:
    """The contacts that *said* leads to: an id of ours, a phone number in any spelling, an address, a channel's id."""
    digits = "".join(character for character in said if character.isdecimal())
    rows = await connection.fetch(
        "SELECT DISTINCT coalesce(c.same_as, c.contact_id) AS contact_id FROM contact c LEFT JOIN contact_identity i "
        "USING (tenant_id, contact_id) WHERE tenant_id = $1 AND (c.contact_id::text = lower($2) "
        "OR lower(i.value) = lower($2) OR (length($3) >= $4 AND (i.value = $3 OR c.phone = '+' || $3 "
        "OR (i.kind = 'wa_id' AND i.match_key = $5))))",
        tenant_id,
        said.strip(),
        digits if not any(character.isalpha() for character in said) else "",
        SHORTEST_NUMBER,
        person_key(digits),
    )
    return sorted(row["contact_id"] for row in rows)


_CALLED = frozenset({"name", "username"})
"""What people choose themselves, and others may be called as well."""


async def person(connection: Connection, tenant_id: UUID, contact_id: UUID) -> ErasedPerson:
    """What leads to the contact, and to those who turned out to be it; their rows are locked."""
    rows = await connection.fetch(
        "SELECT contact_id, display_name, phone FROM contact WHERE tenant_id = $1 "
        "AND (contact_id = $2 OR same_as = $2) ORDER BY contact_id FOR UPDATE",
        tenant_id,
        contact_id,
    )
    contacts = tuple(row["contact_id"] for row in rows)
    identities = await connection.fetch(
        "SELECT value FROM contact_identity WHERE tenant_id = $1 AND contact_id = ANY($2) FOR UPDATE",
        tenant_id,
        contacts,
    )
    known_by = await connection.fetch(
        "SELECT kind, value FROM contact_alias WHERE tenant_id = $1 AND contact_id = ANY($2)", tenant_id, contacts
    )
    values = {row["value"] for row in identities} | {row["phone"].removeprefix("+") for row in rows if row["phone"]}
    values |= {row["value"] for row in known_by if row["kind"] not in _CALLED}
    values |= {written for value in values if value.isdecimal() for written in spellings(value)}
    names = {row["display_name"] for row in rows} | {row["value"] for row in known_by if row["kind"] in _CALLED}
    names -= {erasure.NAME, ""}
    return ErasedPerson(contacts=contacts, names=frozenset(names), values=frozenset(values))


async def with_messages(
    connection: Connection, tenant_id: UUID, who: ErasedPerson, sessions: Collection[UUID]
) -> ErasedPerson:
    """*who* with what is known of the messages in these sessions, of those that wait, and of those to go out."""
    rows = await connection.fetch(
        "SELECT message_id, channel_message_id, delivery_id FROM message "
        " WHERE tenant_id = $1 AND session_id = ANY($2) "
        "UNION ALL SELECT message_id, channel_message_id, delivery_id FROM mailbox "
        " WHERE tenant_id = $1 AND contact_id = ANY($3) "
        "UNION ALL SELECT message_id, channel_message_id, NULL FROM outbox_entry "
        " WHERE tenant_id = $1 AND (contact_id = ANY($3) OR session_id = ANY($2))",
        tenant_id,
        list(sessions),
        who.contacts,
    )
    return ErasedPerson(
        contacts=who.contacts,
        names=who.names,
        values=who.values,
        sessions=tuple(sessions),
        messages=tuple({row["message_id"] for row in rows} - {None}),
        channel_ids=frozenset(row["channel_message_id"] for row in rows if row["channel_message_id"]),
        deliveries=frozenset(row["delivery_id"] for row in rows if row["delivery_id"]),
    )


def _mentions(text: str) -> str:
    """Whether a text speaks of the contact: has one of their numbers ($2), however spelt, or of the words ($3)."""
    return (
        f"(EXISTS (SELECT 1 FROM unnest($2::text[]) AS n WHERE position(n IN regexp_replace({text}, '[^0-9]', '', 'g'))"
        f" > 0) OR EXISTS (SELECT 1 FROM unnest($3::text[]) AS w WHERE position(w IN lower({text})) > 0))"
    )


_MENTIONING: Mapping[str, str] = {
    "contact_history": f"UPDATE contact_history SET detail = $4 WHERE tenant_id = $1 AND {_mentions('detail::text')}",
    "access_record": (
        # What the subject is a digest of was the same.
        "UPDATE access_record SET detail = $4, subject = CASE WHEN session_id IS NULL THEN access_id::text "
        f"ELSE subject END WHERE tenant_id = $1 AND {_mentions('detail::text')}"
    ),
    "administrator_action": (
        "UPDATE administrator_action SET before = $4, after = $4 WHERE tenant_id = $1 "
        f"AND {_mentions('(before::text || after::text)')}"
    ),
    "channel_event": (
        f"UPDATE channel_event SET raw = $4, summary = '{erasure.ERASED}' WHERE tenant_id = $1 "
        f"AND {_mentions('(raw::text || summary)')}"
    ),
    "export_request": f"UPDATE export_request SET filters = $4 WHERE tenant_id = $1 AND {_mentions('filters::text')}",
    "training_phrase": (
        f"DELETE FROM training_phrase WHERE tenant_id = $1 AND $4::jsonb IS NOT NULL AND {_mentions('text')}"
    ),
    "saved_view": f"DELETE FROM saved_view WHERE tenant_id = $1 AND $4::jsonb IS NOT NULL AND {_mentions('query')}",
    "message_status": (
        f"DELETE FROM message_status WHERE tenant_id = $1 AND $4::jsonb IS NOT NULL AND {_mentions('raw::text')}"
    ),
}
"""What people of ours, and the channel, said of the contact."""

_OWN: Mapping[str, tuple[str, ...]] = {
    "contact_identity": ("DELETE FROM contact_identity WHERE tenant_id = $1 AND contact_id = ANY($2)", "contacts"),
    "contact_alias": ("DELETE FROM contact_alias WHERE tenant_id = $1 AND contact_id = ANY($2)", "contacts"),
    "contact_history": ("DELETE FROM contact_history WHERE tenant_id = $1 AND contact_id = ANY($2)", "contacts"),
    "one_time_code": ("DELETE FROM one_time_code WHERE tenant_id = $1 AND contact_id = ANY($2)", "contacts"),
    "mailbox": ("DELETE FROM mailbox WHERE tenant_id = $1 AND contact_id = ANY($2)", "contacts"),
    "business_partner_phone": (
        "DELETE FROM business_partner_phone WHERE tenant_id = $1 AND ltrim(phone, '+') = ANY($2::text[])",
        "values",
    ),
    "mail_unsubscribed": (
        "DELETE FROM mail_unsubscribed WHERE tenant_id = $1 AND address = ANY($2::text[])",
        "values",
    ),
    "message_status": (
        "DELETE FROM message_status WHERE tenant_id = $1 AND channel_message_id = ANY($2::text[])",
        "channel_ids",
    ),
    "reply_draft": ("DELETE FROM reply_draft WHERE tenant_id = $1 AND session_id = ANY($2)", "sessions"),
    "training_phrase": ("DELETE FROM training_phrase WHERE tenant_id = $1 AND session_id = ANY($2)", "sessions"),
    "unanswered_message": (
        # There are no words to group any more.
        "UPDATE unanswered_message SET group_id = NULL, is_wordless = true, best_guess = '' "
        "WHERE tenant_id = $1 AND session_id = ANY($2) AND NOT is_wordless",
        "sessions",
    ),
    "question_group": (
        # The first one's words, as hashes, were somebody's.
        "DELETE FROM question_group g WHERE g.tenant_id = $1 AND decision IS NULL AND cardinality($2::uuid[]) > 0 "
        "AND NOT EXISTS (SELECT FROM unanswered_message m WHERE m.tenant_id = $1 AND m.group_id = g.group_id)",
        "sessions",
    ),
    "review_note": ("DELETE FROM review_note WHERE tenant_id = $1 AND session_id = ANY($2)", "sessions"),
    "legal_hold": (
        f"UPDATE legal_hold SET reason = '{erasure.ERASED}' WHERE tenant_id = $1 AND session_id = ANY($2) "
        f"AND reason <> '{erasure.ERASED}'",
        "sessions",
    ),
    "administrator_action": (
        # Why somebody held a session.
        f"UPDATE administrator_action SET before = '{json.dumps(GONE)}', after = '{json.dumps(GONE)}' "
        "WHERE tenant_id = $1 AND object_kind = 'session' AND object_id = ANY(SELECT unnest($2::uuid[])::text) "
        f"AND before <> '{json.dumps(GONE)}' AND (before <> '{{}}' OR after <> '{{}}')",
        "sessions",
    ),
    "media_file": (
        "UPDATE media_file SET channel_media_id = '', claimed_sha256 = NULL WHERE tenant_id = $1 "
        "AND message_id = ANY($2) AND (channel_media_id <> '' OR claimed_sha256 IS NOT NULL)",
        "messages",
    ),
}
"""What is the contact's own, by ids."""


async def erase(connection: Connection, tenant_id: UUID, who: ErasedPerson, *, now: datetime) -> Counter[str]:
    """Erase the person from all tables but the record's; rows that lost something, by table."""
    gone: Counter[str] = Counter()
    gone["outbox_attempt"], gone["outbox_entry"] = await _outbox(connection, tenant_id, who)
    for table, (statement, by) in _OWN.items():
        gone[table] += _count(await connection.execute(statement, tenant_id, list(getattr(who, by))))
    for table, statement in _MENTIONING.items():
        gone[table] += _count(await connection.execute(statement, tenant_id, who.numbers, who.words, GONE))
    if gone["training_phrase"]:
        await next_registry_revision(connection, tenant_id)
    gone["raw_delivery"] = await _deliveries(connection, tenant_id, who)
    gone["export_request"] += await _exports(connection, tenant_id, now)
    gone["contact"] = _count(
        await connection.execute(
            "UPDATE contact SET display_name = $3, phone = NULL, username = NULL, business_partner_id = NULL, "
            "level = 0, confirmed_until = NULL, confirmation_dropped = '', "
            "marketing_stopped_at = NULL, marketing_paused_until = NULL "
            "WHERE tenant_id = $1 AND contact_id = ANY($2) AND (display_name <> $3 OR phone IS NOT NULL)",
            tenant_id,
            who.contacts,
            erasure.NAME,
        )
    )
    return +gone


async def _outbox(connection: Connection, tenant_id: UUID, who: ErasedPerson) -> tuple[int, int]:
    """Attempts and entries. What was still to be sent is not: there is nobody to send it to."""
    entries = [
        row["outbox_entry_id"]
        for row in await connection.fetch(
            # Mails may also have gone to their address without anybody having known whose it is.
            "SELECT outbox_entry_id FROM outbox_entry WHERE tenant_id = $1 AND (contact_id = ANY($2) "
            "OR session_id = ANY($3) OR (listed AND recipient = ANY($4))) FOR UPDATE",
            tenant_id,
            who.contacts,
            who.sessions,
            list(who.values),
        )
    ]
    attempts = await connection.execute(
        "UPDATE outbox_attempt SET answer = NULL WHERE tenant_id = $1 AND outbox_entry_id = ANY($2) "
        "AND answer IS NOT NULL",
        tenant_id,
        entries,
    )
    changed = await connection.execute(
        "UPDATE outbox_entry SET recipient = '', content = $3, kept = NULL, reply_to = NULL, "
        "subject = '', email = NULL, channel_message_id = NULL, parked = false, previous_status = status, "
        "reason = CASE WHEN status IN ('SCHEDULED', 'PENDING', 'RETRYING') "
        "THEN $4 ELSE '' END, status = CASE WHEN status IN ('SCHEDULED', 'PENDING', 'RETRYING') THEN 'CANCELLED' "
        "ELSE status END WHERE tenant_id = $1 AND outbox_entry_id = ANY($2) AND (content <> $3 OR recipient <> '')",
        tenant_id,
        entries,
        erasure.CONTENT,
        REASON,
    )
    return _count(attempts), _count(changed)


async def _deliveries(connection: Connection, tenant_id: UUID, who: ErasedPerson) -> int:
    """Raw deliveries that brought something of theirs; what these brought of others stays."""
    found = connection.cursor(
        "SELECT delivery_id, at, body, items FROM raw_delivery WHERE tenant_id = $1 AND (delivery_id = ANY($2) "
        "OR EXISTS (SELECT 1 FROM unnest($3::bytea[]) AS v WHERE position(v IN body) > 0))",
        tenant_id,
        list(who.deliveries),
        [value.encode() for value in who.values],
        prefetch=50,
    )
    changed = 0
    async for row in found:
        body, known = _scrubbed(row["body"], who.known)
        items = erasure.scrubbed(row["items"], known)
        if (body, items) != (row["body"], row["items"]):
            changed += 1
            await connection.execute(
                "UPDATE raw_delivery SET body = $4, items = $5 WHERE tenant_id = $1 AND delivery_id = $2 AND at = $3",
                *(tenant_id, row["delivery_id"], row["at"], body, items),
            )
    return changed


def _scrubbed(body: bytes, known: frozenset[str]) -> tuple[bytes, frozenset[str]]:
    """What is left of the body, and what it has told more of whom it is about."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        # An email is one person's, and so is what cannot be told apart.
        return b"", known
    known = erasure.led_to(document, known)
    left = erasure.scrubbed(document, known)
    return body if left == document else json.dumps(left).encode(), known


async def _exports(connection: Connection, tenant_id: UUID, now: datetime) -> int:
    """Files that may have the contact in them: the tenant's, all of them; they can be asked for again."""
    offered = await connection.execute(
        "UPDATE export_request SET expires_at = $2 WHERE tenant_id = $1 AND state = 'done' AND expires_at > $2",
        tenant_id,
        now,
    )
    under_way = await connection.execute(
        "UPDATE export_request SET state = 'failed', reason = $3, finished_at = $2, held_until = NULL "
        "WHERE tenant_id = $1 AND state = 'running'",
        tenant_id,
        now,
        f"{REASON} while it was made; ask for it again",
    )
    return _count(offered) + _count(under_way)


def _count(status: Any) -> int:
    return int(str(status).split()[-1])
