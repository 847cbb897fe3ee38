"""Who wrote: from the identities that a channel gives to contacts, for many messages at once.

Identity is a link table. A contact may have several identities, gain one and change one; two contacts that turn out to
be one person become one (decision 0016). What is found out about a contact is on its history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from dragoman.domain import storable
from dragoman.domain.nouns import Identity
from dragoman.store.database import Connection

LOCKS = 64
"""In so many parts a tenant's strangers are locked: enough that two deliveries seldom wait for each other."""

AHEAD = timedelta(days=1)
"""By how much a message from a new number may come before the notice that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderProfile:
    """The sender of one message, as the channel names them; ``at`` is when they wrote."""

    identities: tuple[Identity, ...]
    display_name: str | None
    label: str
    phone: str | None
    locale: str
    at: datetime


@dataclass(slots=True)
class ResolvedContacts:
    """The contact of each person, in order, and the contacts that a job must bring together."""

    contacts: list[UUID] = field(default_factory=list)
    pending_merges: set[UUID] = field(default_factory=set)


@dataclass(slots=True)
class _LinkedIdentity:
    """An identity as it is linked now."""

    contact_id: UUID
    ended_at: datetime | None
    display_name: str
    phone: str | None
    created_at: datetime


_Links = Mapping[Identity, _LinkedIdentity]


@dataclass(slots=True, eq=False)
class _Group:
    """People of a batch who are one person, the contacts they are known as, and what is not linked to any yet."""

    people: list[int] = field(default_factory=list)
    contacts: dict[UUID, _LinkedIdentity] = field(default_factory=dict)
    free: dict[Identity, None] = field(default_factory=dict)


async def resolve_all(
    connection: Connection,
    tenant_id: UUID,
    people: Sequence[SenderProfile],
    *,
    now: datetime,
    new_id: Callable[[], UUID],
    delivery_id: UUID | None = None,
) -> ResolvedContacts:
    """The contacts behind *people*; made where nobody is, linked to the identities that are new.

    Two deliveries that bring the same stranger at once end with one contact: the second waits for the first.
    """
    if not people:
        return ResolvedContacts()
    wanted = list(dict.fromkeys(identity for person in people for identity in person.identities))
    links = await _links(connection, tenant_id, wanted)
    strangers = [p for p in people if not any(_live(links, i, p.at) for i in p.identities)]
    if strangers:
        await _lock(connection, tenant_id, {identity for person in strangers for identity in person.identities})
        links = await _links(connection, tenant_id, wanted)
    resolved = ResolvedContacts(contacts=[UUID(int=0)] * len(people))
    history = History(tenant_id, now, new_id, delivery_id)
    made: list[tuple[UUID, SenderProfile, _Group]] = []
    linked: list[tuple[UUID, _Group]] = []
    for group in _grouped(people, links):
        first = people[group.people[0]]
        if group.contacts:
            contact_id = await _one_of(connection, tenant_id, group, history, resolved)
            linked.append((contact_id, group))
        else:
            contact_id = new_id()
            made.append((contact_id, first, group))
        for place in group.people:
            resolved.contacts[place] = contact_id
    await _make(connection, tenant_id, made, people, now)
    for contact_id, group in linked:
        await _renew(connection, tenant_id, contact_id, group, people, history, resolved)
    free = [(i, c) for c, group in [*((c, g) for c, _, g in made), *linked] for i in group.free]
    await _link(connection, tenant_id, free, links, now)
    await history.write(connection)
    return resolved


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
    """The contact behind these identities of one person; see :func:`resolve_all`."""
    person = SenderProfile(
        identities=identities,
        display_name=display_name,
        label=identities[0].value,
        phone=phone,
        locale=locale,
        at=now,
    )
    return (await resolve_all(connection, tenant_id, [person], now=now, new_id=new_id)).contacts[0]


async def _links(
    connection: Connection, tenant_id: UUID, wanted: Sequence[Identity]
) -> dict[Identity, _LinkedIdentity]:
    rows = await connection.fetch(
        # From what is wanted to what is there: the other way round every identity of the tenant would be looked at.
        "SELECT i.kind, i.value, i.contact_id, i.ended_at, c.display_name, c.phone, c.created_at "
        "FROM unnest($2::text[], $3::text[]) AS w(kind, value) "
        "JOIN contact_identity i ON i.tenant_id = $1 AND i.kind = w.kind AND i.value = w.value "
        "JOIN contact c ON c.tenant_id = $1 AND c.contact_id = i.contact_id",
        tenant_id,
        [identity.kind for identity in wanted],
        [identity.value for identity in wanted],
    )
    return {
        Identity(kind=row["kind"], value=row["value"]): _LinkedIdentity(
            row["contact_id"], row["ended_at"], row["display_name"], row["phone"], row["created_at"]
        )
        for row in rows
    }


def _live(links: _Links, identity: Identity, at: datetime) -> _LinkedIdentity | None:
    """Whose it was at that time; a number that was given up before may be anybody's."""
    known = links.get(identity)
    return known if known is not None and (known.ended_at is None or at <= known.ended_at) else None


async def _lock(connection: Connection, tenant_id: UUID, strangers: Iterable[Identity]) -> None:
    """Let nobody else make these contacts until the transaction ends; taken in order, so that none waits in vain."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || part, 0)) FROM (SELECT DISTINCT "
        "abs(hashtext(name) % $3::int) AS part FROM unnest($2::text[]) AS name ORDER BY part) AS parts",
        f"{tenant_id}/",
        [f"{identity.kind}/{identity.value}" for identity in strangers],
        LOCKS,
    )


def _grouped(people: Sequence[SenderProfile], links: _Links) -> list[_Group]:
    """People who share an identity, or a contact, are one person."""
    groups: list[_Group] = []
    by_node: dict[object, _Group] = {}
    for place, person in enumerate(people):
        group = _Group(people=[place])
        for identity in person.identities:
            known = _live(links, identity, person.at)
            if known is None:
                group.free[identity] = None
            else:
                group.contacts[known.contact_id] = known
        nodes: list[object] = [*group.free, *group.contacts]
        for other in {id(g): g for node in nodes if (g := by_node.get(node))}.values():
            group.people = other.people + group.people
            group.contacts = other.contacts | group.contacts
            group.free = other.free | group.free
            groups.remove(other)
        groups.append(group)
        for node in (*group.free, *group.contacts):
            by_node[node] = group
    for group in groups:
        group.people.sort()
    return groups


async def _one_of(
    connection: Connection, tenant_id: UUID, group: _Group, history: History, resolved: ResolvedContacts
) -> UUID:
    """The contact that stays, the oldest, where several turn out to be one person."""
    first, *others = sorted(group.contacts, key=lambda c: (group.contacts[c].created_at, c))
    for other in others:
        await merge(connection, tenant_id, other, first, "one message named both", history)
        resolved.pending_merges.add(other)
    return first


async def merge(
    connection: Connection, tenant_id: UUID, other: UUID, into: UUID, reason: str, history: History
) -> None:
    """From now on *other* is *into*: all that led to one leads to the other. A job brings their threads together."""
    await connection.execute(
        "UPDATE contact_identity SET contact_id = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, other, into
    )
    await connection.execute(
        "UPDATE contact SET same_as = $3 WHERE tenant_id = $1 AND (contact_id = $2 OR same_as = $2)",
        tenant_id,
        other,
        into,
    )
    # A confirmation was of one of them; that they are one is the channel's word only.
    await connection.execute(
        "UPDATE contact SET confirmed_until = NULL, phone = coalesce(contact.phone, (SELECT o.phone FROM contact o "
        "WHERE o.tenant_id = $1 AND o.contact_id = $2)) WHERE tenant_id = $1 AND contact_id = $3",
        tenant_id,
        other,
        into,
    )
    history.note(other, "merged_into", contact=str(into), reason=reason)
    history.note(into, "merged_from", contact=str(other), reason=reason)


async def _make(
    connection: Connection,
    tenant_id: UUID,
    made: Sequence[tuple[UUID, SenderProfile, _Group]],
    people: Sequence[SenderProfile],
    now: datetime,
) -> None:
    if not made:
        return
    rows = []
    for contact_id, first, group in made:
        known = [people[place] for place in group.people]
        name = next((p.display_name for p in reversed(known) if p.display_name), None)
        phone = next((p.phone for p in known if p.phone), None)
        rows.append((contact_id, name or phone or first.label, phone, first.locale))
    await connection.execute(
        "INSERT INTO contact (tenant_id, contact_id, display_name, phone, locale, created_at) "
        "SELECT $1, n.contact_id, n.display_name, n.phone, n.locale, $2 "
        "FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) AS n(contact_id, display_name, phone, locale) "
        "ON CONFLICT DO NOTHING",
        tenant_id,
        now,
        *map(list, zip(*rows, strict=True)),
    )


async def _renew(
    connection: Connection,
    tenant_id: UUID,
    contact_id: UUID,
    group: _Group,
    people: Sequence[SenderProfile],
    history: History,
    resolved: ResolvedContacts,
) -> None:
    """Take over what is new about somebody who is known: nearly always nothing."""
    known = group.contacts.get(contact_id) or next(iter(group.contacts.values()))
    said = [people[place] for place in group.people]
    name = next((p.display_name for p in reversed(said) if p.display_name), None)
    if name and name != known.display_name:
        await connection.execute(
            "UPDATE contact SET display_name = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, contact_id, name
        )
    phone = next((p.phone for p in said if p.phone), None)
    if phone and known.phone is None:
        await connection.execute(
            "UPDATE contact SET phone = $3 WHERE tenant_id = $1 AND contact_id = $2 AND phone IS NULL",
            tenant_id,
            contact_id,
            phone,
        )
        resolved.pending_merges.add(contact_id)
    for identity in group.free:
        history.note(contact_id, "linked", kind=identity.kind, value=identity.value)
        # Another one of a kind that is known already: whoever writes now need not be who was confirmed.
        await connection.execute(
            "UPDATE contact c SET confirmed_until = NULL WHERE c.tenant_id = $1 AND c.contact_id = $2 "
            "AND c.confirmed_until IS NOT NULL AND EXISTS (SELECT 1 FROM contact_identity i WHERE i.tenant_id = $1 "
            "AND i.contact_id = $2 AND i.kind = $3)",
            tenant_id,
            contact_id,
            identity.kind,
        )


async def _link(
    connection: Connection,
    tenant_id: UUID,
    free: Sequence[tuple[Identity, UUID]],
    links: _Links,
    now: datetime,
) -> None:
    """Link identities to contacts: new ones, and numbers that their owners had given up."""
    if not free:
        return
    columns = ([i.kind for i, _ in free], [i.value for i, _ in free], [c for _, c in free])
    await connection.execute(
        "INSERT INTO contact_identity (tenant_id, kind, value, contact_id, created_at) "
        "SELECT $1, n.kind, n.value, n.contact_id, $2 "
        "FROM unnest($3::text[], $4::text[], $5::uuid[]) AS n(kind, value, contact_id) ON CONFLICT DO NOTHING",
        tenant_id,
        now,
        *columns,
    )
    if any(identity in links for identity, _ in free):
        await connection.execute(
            "UPDATE contact_identity i SET contact_id = n.contact_id, created_at = $2, ended_at = NULL "
            "FROM unnest($3::text[], $4::text[], $5::uuid[]) AS n(kind, value, contact_id) "
            "WHERE i.tenant_id = $1 AND i.kind = n.kind AND i.value = n.value AND i.ended_at IS NOT NULL",
            tenant_id,
            now,
            *columns,
        )


async def change_identity(
    connection: Connection,
    tenant_id: UUID,
    old: Identity,
    new: Identity,
    at: datetime,
    history: History,
) -> set[UUID]:
    """The channel says that *new* took the place of *old* at that time; the contacts that a job must look at.

    A number that belonged to an earlier owner is taken from them, their history stays with them. Whoever wrote from
    it only since about then is the person who changed. Saying it twice changes nothing.
    """
    links = await _links(connection, tenant_id, [old, new])
    holder, taken = links.get(old), links.get(new)
    if holder is None:
        return set()
    contact_id = holder.contact_id
    if taken is not None and taken.contact_id == contact_id and (taken.ended_at is None or taken.ended_at >= at):
        return set()
    pending_merges = {contact_id}
    numbers = new.kind == "wa_id"
    if taken is None:
        await _link(connection, tenant_id, [(new, contact_id)], {}, history.at)
    elif taken.contact_id == contact_id:
        await connection.execute(
            "UPDATE contact_identity SET ended_at = NULL WHERE tenant_id = $1 AND kind = $2 AND value = $3",
            tenant_id,
            new.kind,
            new.value,
        )
    elif numbers and taken.created_at < at - AHEAD:
        await _take(connection, tenant_id, new, taken.contact_id, contact_id, history)
    else:
        await merge(connection, tenant_id, taken.contact_id, contact_id, "a notice of the channel", history)
        pending_merges.add(taken.contact_id)
    if numbers:
        await connection.execute(
            "UPDATE contact_identity SET ended_at = $4 WHERE tenant_id = $1 AND kind = $2 AND value = $3",
            tenant_id,
            old.kind,
            old.value,
            at,
        )
        await connection.execute(
            "UPDATE contact SET phone = $3, confirmed_until = NULL WHERE tenant_id = $1 AND contact_id = $2",
            tenant_id,
            contact_id,
            f"+{new.value}",
        )
    what = "number_changed" if numbers else "user_id_changed"
    history.note(contact_id, what, old=old.value, new=new.value, since=at.isoformat())
    return pending_merges


async def _take(
    connection: Connection, tenant_id: UUID, identity: Identity, former: UUID, contact_id: UUID, history: History
) -> None:
    await connection.execute(
        "UPDATE contact_identity SET contact_id = $4, ended_at = NULL, created_at = $5 "
        "WHERE tenant_id = $1 AND kind = $2 AND value = $3",
        tenant_id,
        identity.kind,
        identity.value,
        contact_id,
        history.at,
    )
    await connection.execute(
        "UPDATE contact SET phone = NULL, confirmed_until = NULL WHERE tenant_id = $1 AND contact_id = $2 "
        "AND phone = $3",
        tenant_id,
        former,
        f"+{identity.value}",
    )
    history.note(former, "identity_lost", kind=identity.kind, value=identity.value, to=str(contact_id))


async def revoke_confirmation(connection: Connection, tenant_id: UUID, contact_id: UUID, history: History) -> None:
    """Somebody else may be writing under this identity: who was confirmed has to confirm again."""
    done = await connection.execute(
        "UPDATE contact SET confirmed_until = NULL WHERE tenant_id = $1 AND contact_id = $2 "
        "AND confirmed_until IS NOT NULL",
        tenant_id,
        contact_id,
    )
    if done != "UPDATE 0":
        history.note(contact_id, "confirmation_dropped", reason="the channel reports another device or owner")


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
    known = next((found for identity in sender if (found := _live(links, identity, at))), None)
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


class History:
    """Collects what is found out about contacts, and writes it all at once."""

    def __init__(
        self, tenant_id: UUID, at: datetime, new_id: Callable[[], UUID], delivery_id: UUID | None = None
    ) -> None:
        self.at = at
        self._tenant_id, self._new_id, self._delivery_id = tenant_id, new_id, delivery_id
        self._notes: list[tuple[UUID, UUID, str, str]] = []

    def note(self, contact_id: UUID, what: str, **detail: Any) -> None:
        """*what* became known of a contact."""
        self._notes.append((contact_id, self._new_id(), what, storable.dump(detail)))

    async def write(self, connection: Connection) -> None:
        """Put what was collected on record."""
        if not self._notes:
            return
        await connection.execute(
            "INSERT INTO contact_history (tenant_id, contact_id, history_id, at, what, detail, delivery_id) "
            "SELECT $1, n.contact_id, n.history_id, $2, n.what, n.detail::jsonb, $3 "
            "FROM unnest($4::uuid[], $5::uuid[], $6::text[], $7::text[]) AS n(contact_id, history_id, what, detail) "
            "ON CONFLICT DO NOTHING",
            self._tenant_id,
            self.at,
            self._delivery_id,
            *map(list, zip(*self._notes, strict=True)),
        )
        self._notes.clear()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactNote:
    """One entry of a contact's history."""

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
