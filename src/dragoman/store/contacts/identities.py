"""Who wrote: looks up and writes what is known of contacts' identities, for many messages at once.

Identity is a link table. A contact may have several identities, gain one and change one; two contacts that turn out to
be one person become one (decision 0016). What is to be written is decided by
:mod:`~dragoman.store.contacts.identity_plan`; what is found out about a contact is on its history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from dragoman.domain.nouns import Identity
from dragoman.sql import BulkStatement, bulk_insert
from dragoman.store.contacts.identity_plan import (
    ContactPlan,
    LinkedContact,
    Links,
    NewContact,
    SenderProfile,
    holder_at,
    is_stranger,
    plan_change,
    plan_contacts,
)
from dragoman.store.database import Connection

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
    wanted = list(dict.fromkeys(identity for sender in senders for identity in sender.identities))
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
    sender = SenderProfile(
        identities=identities,
        display_name=display_name,
        label=identities[0].value,
        phone=phone,
        locale=locale,
        at=now,
    )
    return (await resolve_all(connection, tenant_id, [sender], now=now, new_id=new_id)).contacts[0]


async def _links(connection: Connection, tenant_id: UUID, wanted: Sequence[Identity]) -> dict[Identity, LinkedContact]:
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
        Identity(kind=row["kind"], value=row["value"]): LinkedContact(
            row["contact_id"], row["ended_at"], row["display_name"], row["phone"], row["created_at"]
        )
        for row in rows
    }


async def _lock(connection: Connection, tenant_id: UUID, strangers: Iterable[Identity]) -> None:
    """Let nobody else make these contacts until the transaction ends; taken in order, so that none waits in vain."""
    await connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended($1 || part, 0)) FROM (SELECT DISTINCT "
        "abs(hashtext(name) % $3::int) AS part FROM unnest($2::text[]) AS name ORDER BY part) AS parts",
        f"{tenant_id}/",
        [f"{identity.kind}/{identity.value}" for identity in strangers],
        LOCKS,
    )


async def _carry_out(
    connection: Connection, tenant_id: UUID, plan: ContactPlan, links: Links, history: History
) -> None:
    for one in plan.merges:
        await merge(connection, tenant_id, one.other, one.into, "one message named both", history)
    await _make(connection, tenant_id, plan.made, history.at)
    for contact_id, name in plan.names.items():
        await connection.execute(
            "UPDATE contact SET display_name = $3 WHERE tenant_id = $1 AND contact_id = $2", tenant_id, contact_id, name
        )
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


_MAKE = bulk_insert(
    "contact",
    {"contact_id": "uuid", "display_name": "text", "phone": "text", "locale": "text"},
    once={"created_at": "timestamptz"},
)


async def _make(connection: Connection, tenant_id: UUID, made: Sequence[NewContact], now: datetime) -> None:
    rows = [(contact.contact_id, contact.display_name, contact.phone, contact.locale) for contact in made]
    await _MAKE.execute(connection, rows, tenant_id, now)


async def _note_gained(
    connection: Connection, tenant_id: UUID, contact_id: UUID, identity: Identity, history: History
) -> None:
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


_LINKED = {"kind": "text", "value": "text", "contact_id": "uuid"}
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
    rows = [(identity.kind, identity.value, contact_id) for contact_id, identity in unlinked]
    await _LINK.execute(connection, rows, tenant_id, now)
    if any(identity in links for _, identity in unlinked):
        await _LINK_AGAIN.execute(connection, rows, tenant_id, now)


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
        await _link(connection, tenant_id, [(contact_id, new)], {}, history.at)
    elif plan.reopen:
        await connection.execute(
            "UPDATE contact_identity SET ended_at = NULL WHERE tenant_id = $1 AND kind = $2 AND value = $3",
            tenant_id,
            new.kind,
            new.value,
        )
    elif plan.take_from is not None:
        await _take(connection, tenant_id, new, plan.take_from, contact_id, history)
    elif plan.merge is not None:
        await merge(connection, tenant_id, plan.merge, contact_id, "a notice of the channel", history)
        pending_merges.add(plan.merge)
    if plan.is_number:
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
    what = "number_changed" if plan.is_number else "user_id_changed"
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
    known = next((found for identity in sender if (found := holder_at(links, identity, at))), None)
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
