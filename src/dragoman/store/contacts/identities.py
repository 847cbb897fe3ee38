"""Who wrote: looks up and writes what is known of contacts' identities, for many messages at once.

Identity is a link table. A contact may have several identities, gain one and change one; two contacts that turn out to
be one person become one (decision 0016). What is to be written is decided by
:mod:`~dragoman.store.contacts.identity_plan`; what is found out about a contact is on its history.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.nouns import Identity
from dragoman.numbering import spellings
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store import leases
from dragoman.store.contacts import aliases
from dragoman.store.contacts.aliases import Alias
from dragoman.store.contacts.identity_plan import (
    NUMBER,
    ContactPlan,
    LinkedContact,
    Links,
    NewContact,
    SenderProfile,
    is_stranger,
    match_key,
    plan_change,
    plan_contacts,
)
from dragoman.store.database import Connection
from dragoman.store.receiving import mailbox

LOCKS = 64
"""In so many parts a tenant's strangers are locked: enough that two deliveries seldom wait for each other."""


@dataclass(slots=True)
class ResolvedContacts:
    """The contact of each sender, in order, and the contacts that a job must bring together."""

    contacts: list[UUID] = field(default_factory=list)
    pending_merges: set[UUID] = field(default_factory=set)


async def resolve_all(
    connection: Connection,
    tenant_id: UUID,
    senders: Sequence[SenderProfile],
    *,
    now: datetime,
    new_id: Callable[[], UUID],
    delivery_id: UUID | None = None,
) -> ResolvedContacts:
    """Find the contacts behind *senders*; make those of strangers, and link the identities that are new.

    Two deliveries that bring the same stranger at once end with one contact: the second waits for the first.
    """
    if not senders:
        return ResolvedContacts()
    wanted = _identities_of(senders)
    links = await _links(connection, tenant_id, wanted)
    strangers = {identity for sender in senders if is_stranger(links, sender) for identity in sender.identities}
    if strangers:
        await _lock(connection, tenant_id, strangers)
        # Whoever made them meanwhile has committed: look again.
        links = await _links(connection, tenant_id, wanted)
    plan = plan_contacts(senders, links, new_id)
    history = History(tenant_id, now, new_id, delivery_id)
    await _carry_out(connection, tenant_id, plan, links, history)
    await history.write(connection)
    return ResolvedContacts(plan.contacts, plan.pending_merges)


async def link_known(
    connection: Connection,
    tenant_id: UUID,
    people: Sequence[Sequence[Identity]],
    *,
    now: datetime,
    new_id: Callable[[], UUID],
) -> set[UUID]:
    """Link what the channel says is one person's, for those who are known; the contacts that a job must look at.

    Nobody is made: that somebody exists is no reason to have a record of them.
    """
    senders = [
        SenderProfile(identities=tuple(one), display_name=None, phone=None, locale="", at=now)
        for one in people
        if len(one) > 1
    ]
    if not senders:
        return set()
    links = await _links(connection, tenant_id, _identities_of(senders))
    known = [sender for sender in senders if not is_stranger(links, sender)]
    plan = plan_contacts(known, links, new_id)
    if not (plan.links or plan.merges):
        return set()
    await _lock(connection, tenant_id, _identities_of(known))
    return (await resolve_all(connection, tenant_id, known, now=now, new_id=new_id)).pending_merges


def _identities_of(senders: Sequence[SenderProfile]) -> list[Identity]:
    return list(dict.fromkeys(identity for sender in senders for identity in sender.identities))


async def resolve(
    connection: Connection,
    tenant_id: UUID,
    identities: tuple[Identity, ...],
    *,
    display_name: str | None,
    phone: str | None,
    locale: str,
    now: datetime,
    new_id: Callable[[], UUID],
) -> UUID:
    """Find the contact behind these identities of one person; see :func:`resolve_all`."""
    sender = SenderProfile(identities=identities, display_name=display_name, phone=phone, locale=locale, at=now)
    return (await resolve_all(connection, tenant_id, [sender], now=now, new_id=new_id)).contacts[0]


async def _links(connection: Connection, tenant_id: UUID, wanted: Sequence[Identity]) -> Links:
    rows = await connection.fetch(
        # From what is wanted to what is there: the other way round every identity of the tenant would be looked at.
        "SELECT DISTINCT i.kind, i.value, i.contact_id, i.ended_at, c.display_name, c.phone, c.created_at, c.username "
        "FROM unnest($2::text[], $3::text[]) AS w(kind, match_key) "
        "JOIN contact_identity i ON i.tenant_id = $1 AND i.kind = w.kind AND i.match_key = w.match_key "
        "JOIN contact c ON c.tenant_id = $1 AND c.contact_id = i.contact_id",
        tenant_id,
        [identity.kind for identity in wanted],
        [match_key(identity) for identity in wanted],
    )
    return Links(
        {
            Identity(kind=row["kind"], value=row["value"]): LinkedContact(
                row["contact_id"],
                row["ended_at"],
                row["display_name"],
                row["phone"],
                row["created_at"],
                row["username"],
            )
            for row in rows
        }
    )


async def _lock(connection: Connection, tenant_id: UUID, strangers: Iterable[Identity]) -> None:
    """Let nobody else make these contacts until the transaction ends; taken in order, so that none waits in vain."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || part, 0)) FROM (SELECT DISTINCT "
        "abs(hashtext(name) % $3::int) AS part FROM unnest($2::text[]) AS name ORDER BY part) AS parts",
        f"{tenant_id}/",
        [f"{identity.kind}/{match_key(identity)}" for identity in strangers],
        LOCKS,
    )


async def _lock_contacts(connection: Connection, tenant_id: UUID, contact_ids: Collection[UUID]) -> None:
    """Let nobody else change these contacts; all at once and in order, so that no two wait for each other.

    What only refers to them (a thread, an identity) is written meanwhile: nobody waits for that.
    """
    if contact_ids:
        await connection.execute(
            "SELECT FROM contact WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[]) ORDER BY contact_id "
            "FOR NO KEY UPDATE",
            tenant_id,
            list(contact_ids),
        )


async def _carry_out(
    connection: Connection, tenant_id: UUID, plan: ContactPlan, links: Links, history: History
) -> None:
    await _lock_contacts(connection, tenant_id, plan.touched)
    for one in plan.merges:
        await merge(connection, tenant_id, one.other, one.into, "the channel named both as one person", history)
    await _make(connection, tenant_id, plan.made, history.at)
    for contact_id, name in plan.names.items():
        await connection.execute(
            "UPDATE contact SET display_name = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, contact_id, name
        )
    for contact_id, username in plan.usernames.items():
        await connection.execute(
            "UPDATE contact SET username = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, contact_id, username
        )
        history.note(contact_id, "username", value=username)
    for contact_id, phone in plan.phones.items():
        await connection.execute(
            "UPDATE contact SET phone = $3 WHERE tenant_id = $1 AND contact_id = $2 AND phone IS NULL",
            tenant_id,
            contact_id,
            phone,
        )
    for contact_id, identity in plan.gained:
        await _note_gained(connection, tenant_id, contact_id, identity, history)
    await _link(connection, tenant_id, plan.links, links, history.at)
    named = [
        *((made.contact_id, "name", made.display_name) for made in plan.made),
        *((made.contact_id, "username", made.username) for made in plan.made),
        *((contact_id, "name", name) for contact_id, name in plan.names.items()),
        *((contact_id, "username", username) for contact_id, username in plan.usernames.items()),
    ]
    found = [Alias(contact_id, kind, value) for contact_id, kind, value in named if value]
    await aliases.add(connection, tenant_id, found, now=history.at)


_MAKE = bulk_insert(
    "contact",
    {"contact_id": "uuid", "display_name": "text", "phone": "text", "locale": "text", "username": "text"},
    once={"created_at": "timestamptz"},
)


async def _make(connection: Connection, tenant_id: UUID, made: Sequence[NewContact], now: datetime) -> None:
    rows = [(one.contact_id, one.display_name, one.phone, one.locale, one.username) for one in made]
    await _MAKE.execute(connection, rows, tenant_id, now)


async def _note_gained(
    connection: Connection, tenant_id: UUID, contact_id: UUID, identity: Identity, history: History
) -> None:
    history.note(contact_id, "linked", kind=identity.kind, value=identity.value)
    # Another one of a kind that is known already: whoever writes now need not be who was confirmed.
    known = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM contact_identity WHERE tenant_id = $1 AND contact_id = $2 AND kind = $3)",
        tenant_id,
        contact_id,
        identity.kind,
    )
    if known:
        await _drop_confirmation(connection, tenant_id, contact_id, "another number or user id of theirs", history.at)


async def merge(
    connection: Connection, tenant_id: UUID, other: UUID, into: UUID, reason: str, history: History
) -> bool:
    """From now on *other* is *into*: all that led to one leads to the other. A job brings their threads together.

    False where that was done before: two deliveries may find out at the same time.
    """
    await _lock_contacts(connection, tenant_id, {other, into})
    rows = await connection.fetch(
        "SELECT contact_id, same_as FROM contact WHERE tenant_id = $1 AND contact_id = ANY($2::uuid[])",
        tenant_id,
        [other, into],
    )
    became = {row["contact_id"]: row["same_as"] for row in rows}
    into = became[into] or into
    if became[other] or other == into:
        return False
    await connection.execute(
        "UPDATE contact_identity SET contact_id = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, other, into
    )
    await connection.execute(
        "UPDATE contact SET same_as = $3 WHERE tenant_id = $1 AND (contact_id = $2 OR same_as = $2)",
        tenant_id,
        other,
        into,
    )
    await aliases.move(connection, tenant_id, other, into)
    # A confirmation was of one of them; that they are one is the channel's word only.
    await connection.execute(
        "UPDATE contact c SET phone = coalesce(c.phone, o.phone), "
        "username = coalesce(c.username, o.username), "
        "display_name = CASE WHEN c.display_name = '' THEN o.display_name ELSE c.display_name END "
        "FROM contact o WHERE o.tenant_id = $1 AND o.contact_id = $2 AND c.tenant_id = $1 AND c.contact_id = $3",
        tenant_id,
        other,
        into,
    )
    await _drop_confirmation(connection, tenant_id, into, "two contacts turned out to be one", history.at)
    # What waits for a dispatch keeps its place among the messages of the other, where no worker has it in hand: a free
    # lease whose row is locked is nobody's until this is committed. Else the job moves it, under both leases.
    lease = f"inbound:{other}"
    await leases.create(connection, tenant_id, [lease])
    found = (await leases.lock(connection, tenant_id, [lease], wait=False)).get(lease)
    if found is not None and found.owner is None:
        await mailbox.move_to_contact(connection, tenant_id, other, into)
    history.note(other, "merged_into", contact=str(into), reason=reason)
    history.note(into, "merged_from", contact=str(other), reason=reason)
    return True


async def bring_together(
    connection: Connection, tenant_id: UUID, pair: tuple[UUID, UUID], reason: str, history: History
) -> set[UUID]:
    """Make one contact of two that turned out to be one person; the contact that a job must look at.

    Not where both have identities of one kind and none in common: two numbers are two people, whatever else is said.
    """
    rows = await connection.fetch(
        "SELECT coalesce(c.same_as, c.contact_id) AS contact_id, o.created_at, i.kind, i.match_key FROM contact c "
        "JOIN contact o ON o.tenant_id = $1 AND o.contact_id = coalesce(c.same_as, c.contact_id) "
        "LEFT JOIN contact_identity i ON i.tenant_id = $1 AND i.contact_id = o.contact_id AND i.ended_at IS NULL "
        "WHERE c.tenant_id = $1 AND c.contact_id = ANY($2::uuid[])",
        tenant_id,
        list(pair),
    )
    ages = {row["contact_id"]: row["created_at"] for row in rows}
    if len(ages) < 2:
        return set()
    into, other = sorted(ages, key=lambda contact_id: (ages[contact_id], contact_id))
    keys: dict[tuple[UUID, str], set[str]] = {}
    for row in rows:
        keys.setdefault((row["contact_id"], row["kind"]), set()).add(row["match_key"])
    kinds = {kind for contact_id, kind in keys if contact_id == into} & {
        kind for contact_id, kind in keys if contact_id == other
    }
    if any(not keys[into, kind] & keys[other, kind] for kind in kinds):
        return set()
    await merge(connection, tenant_id, other, into, reason, history)
    return {other}


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedSpelling:
    """Is a contact that became another one, since both have the number that ``match_key`` stands for."""

    match_key: str
    contact_id: UUID
    into: UUID


async def merge_spellings(
    connection: Connection, tenant_id: UUID, reason: str, history: History, *, limit: int
) -> list[MergedSpelling]:
    """Make one contact of those who have one number in several spellings, for up to *limit* numbers."""
    keys = [
        row["match_key"]
        for row in await connection.fetch(
            "SELECT match_key FROM contact_identity WHERE tenant_id = $1 AND kind = 'wa_id' AND ended_at IS NULL "
            "GROUP BY match_key HAVING count(DISTINCT contact_id) > 1 ORDER BY match_key LIMIT $2",
            tenant_id,
            limit,
        )
    ]
    if not keys:
        return []
    await _lock(connection, tenant_id, [Identity(kind=NUMBER, value=key) for key in keys])
    # Whoever merged some of them meanwhile has committed: look again.
    rows = await connection.fetch(
        "SELECT DISTINCT i.match_key, i.contact_id, c.created_at FROM contact_identity i JOIN contact c "
        "ON c.tenant_id = $1 AND c.contact_id = i.contact_id WHERE i.tenant_id = $1 AND i.kind = 'wa_id' "
        "AND i.ended_at IS NULL AND i.match_key = ANY($2::text[]) ORDER BY c.created_at, i.contact_id",
        tenant_id,
        keys,
    )
    await _lock_contacts(connection, tenant_id, {row["contact_id"] for row in rows})
    oldest: dict[str, UUID] = {}
    became: dict[UUID, UUID] = {}
    merged = []
    for row in rows:
        contact_id = became.get(row["contact_id"], row["contact_id"])
        into = oldest.setdefault(row["match_key"], contact_id)
        into = became.get(into, into)
        if into == contact_id:
            continue
        became |= dict.fromkeys((contact_id, *(one for one, other in became.items() if other == contact_id)), into)
        if await merge(connection, tenant_id, contact_id, into, reason, history):
            merged.append(MergedSpelling(match_key=row["match_key"], contact_id=contact_id, into=into))
    return merged


_LINKED = {"kind": "text", "value": "text", "match_key": "text", "contact_id": "uuid"}
_LINK = bulk_insert("contact_identity", _LINKED, once={"created_at": "timestamptz"})
_LINK_AGAIN = BulkStatement(
    "UPDATE contact_identity i SET contact_id = r.contact_id, created_at = {now}, ended_at = NULL FROM {rows} "
    "WHERE i.tenant_id = {tenant_id} AND i.kind = r.kind AND i.value = r.value AND i.ended_at IS NOT NULL",
    _LINKED,
    once={"now": "timestamptz"},
)


async def _link(
    connection: Connection,
    tenant_id: UUID,
    unlinked: Sequence[tuple[UUID, Identity]],
    links: Links,
    now: datetime,
) -> None:
    """Link identities to contacts: new ones, and numbers that their owners had given up."""
    rows = [(identity.kind, identity.value, match_key(identity), contact_id) for contact_id, identity in unlinked]
    await _LINK.execute(connection, rows, tenant_id, now)
    if any(links.as_written(identity) for _, identity in unlinked):
        await _LINK_AGAIN.execute(connection, rows, tenant_id, now)
    known_by = [Alias.of_identity(contact_id, identity) for contact_id, identity in unlinked]
    await aliases.add(connection, tenant_id, known_by, now=now)


async def change_identity(
    connection: Connection,
    tenant_id: UUID,
    old: Identity,
    new: Identity,
    at: datetime,
    history: History,
) -> set[UUID]:
    """Let *new* take the place of *old*, as the channel says it has since *at*; the contacts that a job must look at.

    Saying it twice changes nothing.
    """
    plan = plan_change(old, new, at, await _links(connection, tenant_id, [old, new]))
    if plan is None:
        return set()
    contact_id = plan.contact_id
    pending_merges = {contact_id}
    if plan.link:
        await _link(connection, tenant_id, [(contact_id, new)], Links({}), history.at)
    elif plan.reopen:
        await connection.execute(
            "UPDATE contact_identity SET ended_at = NULL WHERE tenant_id = $1 AND contact_id = $2 AND kind = $3 "
            "AND match_key = $4",
            tenant_id,
            contact_id,
            new.kind,
            match_key(new),
        )
    elif plan.take_from is not None:
        await _take(connection, tenant_id, new, plan.take_from, contact_id, history)
    elif plan.merge is not None:
        await merge(connection, tenant_id, plan.merge, contact_id, "a notice of the channel", history)
        pending_merges.add(plan.merge)
    if plan.is_number:
        await connection.execute(
            "UPDATE contact_identity SET ended_at = $5 WHERE tenant_id = $1 AND contact_id = $2 AND kind = $3 "
            "AND match_key = $4",
            tenant_id,
            contact_id,
            old.kind,
            match_key(old),
            at,
        )
        await connection.execute(
            "UPDATE contact SET phone = $3 WHERE tenant_id = $1 AND contact_id = $2",
            tenant_id,
            contact_id,
            f"+{new.value}",
        )
        await _drop_confirmation(connection, tenant_id, contact_id, "their number changed", history.at)
    what = "number_changed" if plan.is_number else "user_id_changed"
    history.note(contact_id, what, old=old.value, new=new.value, since=at.isoformat())
    return pending_merges


async def _take(
    connection: Connection, tenant_id: UUID, identity: Identity, former: UUID, contact_id: UUID, history: History
) -> None:
    await connection.execute(
        "UPDATE contact_identity SET contact_id = $4, ended_at = NULL, created_at = $5 "
        "WHERE tenant_id = $1 AND kind = $2 AND match_key = $3",
        tenant_id,
        identity.kind,
        match_key(identity),
        contact_id,
        history.at,
    )
    # As it was written by then, in whichever spelling.
    await _link(connection, tenant_id, [(contact_id, identity)], Links({}), history.at)
    lost = await connection.fetchval(
        "UPDATE contact SET phone = NULL WHERE tenant_id = $1 AND contact_id = $2 AND phone = ANY($3) RETURNING true",
        tenant_id,
        former,
        [f"+{number}" for number in spellings(identity.value)],
    )
    if lost:
        await _drop_confirmation(connection, tenant_id, former, "their number is somebody else’s now", history.at)
    history.note(former, "identity_lost", kind=identity.kind, value=identity.value, to=str(contact_id))


async def revoke_confirmation(connection: Connection, tenant_id: UUID, contact_id: UUID, history: History) -> None:
    """Somebody else may be writing under this identity: who was confirmed has to confirm again."""
    reason = "the channel reports another device or owner"
    if await _drop_confirmation(connection, tenant_id, contact_id, reason, history.at):
        history.note(contact_id, "confirmation_dropped", reason=reason)


async def _drop_confirmation(
    connection: Connection, tenant_id: UUID, contact_id: UUID, reason: str, at: datetime
) -> bool:
    """Let a confirmation end now that would have lasted; False where there is none."""
    dropped: bool | None = await connection.fetchval(
        "UPDATE contact SET confirmed_until = $3, confirmation_dropped = $4 "
        "WHERE tenant_id = $1 AND contact_id = $2 AND confirmed_until > $3 RETURNING true",
        tenant_id,
        contact_id,
        at,
        reason,
    )
    return dropped is True


async def set_marketing_preference(
    connection: Connection,
    tenant_id: UUID,
    sender: Sequence[Identity],
    *,
    stopped: bool,
    detail: str,
    at: datetime,
    history: History,
) -> bool:
    """Keep a contact's choice about marketing messages; False for somebody who is not known here."""
    links = await _links(connection, tenant_id, sender)
    known = next((found for identity in sender for found in links.holders_at(identity, at)), None)
    if known is None:
        return False
    await connection.execute(
        "UPDATE contact SET marketing_stopped_at = $3 WHERE tenant_id = $1 AND contact_id = $2",
        tenant_id,
        known.contact_id,
        at if stopped else None,
    )
    history.note(known.contact_id, "marketing_stopped" if stopped else "marketing_resumed", detail=detail)
    return True


_NOTE = bulk_insert(
    "contact_history",
    {"contact_id": "uuid", "history_id": "uuid", "what": "text", "detail": "jsonb"},
    once={"at": "timestamptz", "delivery_id": "uuid"},
)


class History:
    """Collects what is found out about contacts, and writes it all at once."""

    def __init__(
        self, tenant_id: UUID, at: datetime, new_id: Callable[[], UUID], delivery_id: UUID | None = None
    ) -> None:
        self.at = at
        self._tenant_id, self._new_id, self._delivery_id = tenant_id, new_id, delivery_id
        self._notes: list[tuple[UUID, UUID, str, dict[str, Any]]] = []

    def note(self, contact_id: UUID, what: str, **detail: Any) -> None:
        """*what* became known of a contact."""
        self._notes.append((contact_id, self._new_id(), what, detail))

    async def write(self, connection: Connection) -> None:
        """Put what was collected on record."""
        await _NOTE.execute(connection, self._notes, self._tenant_id, self.at, self._delivery_id)
        self._notes.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactNote:
    """Is one entry of a contact's history."""

    at: datetime
    what: str
    detail: Mapping[str, Any]


async def history_of(connection: Connection, tenant_id: UUID, contact_id: UUID) -> list[ContactNote]:
    """What was found out about a contact, and about those who turned out to be it, oldest first."""
    rows = await connection.fetch(
        "SELECT h.at, h.what, h.detail FROM contact_history h WHERE h.tenant_id = $1 AND (h.contact_id = $2 "
        "OR h.contact_id IN (SELECT c.contact_id FROM contact c WHERE c.tenant_id = $1 AND c.same_as = $2)) "
        "ORDER BY h.at, h.history_id LIMIT 200",
        tenant_id,
        contact_id,
    )
    return [ContactNote(at=row["at"], what=row["what"], detail=row["detail"]) for row in rows]
