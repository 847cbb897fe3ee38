"""Decides who wrote: from the identities of some senders and whom these are linked to, what has to be written.

Pure: it reads no table and no clock. :mod:`dragoman.store.contacts.identities` looks up the links and carries a plan
out. The rules are those of decision 0016: senders who share an identity or a contact are one person; where several
contacts turn out to be one person the oldest survives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.nouns import Identity

NOTICE_DELAY = timedelta(days=1)
"""By how much a message from a new number may come before the notice that names it."""

NUMBER = "wa_id"
"""The kind of identity that is a phone number: it can be given up, and belong to somebody else later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderProfile:
    """Describes the sender of one message as the channel does; ``at`` is when they wrote."""

    identities: tuple[Identity, ...]
    display_name: str | None
    label: str
    phone: str | None
    locale: str
    at: datetime


@dataclass(frozen=True, slots=True)
class LinkedContact:
    """The contact that an identity is linked to; ``ended_at`` is when the identity was given up."""

    contact_id: UUID
    ended_at: datetime | None
    display_name: str
    phone: str | None
    created_at: datetime


Links = Mapping[Identity, LinkedContact]


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact that has to be made."""

    contact_id: UUID
    display_name: str
    phone: str | None
    locale: str


@dataclass(frozen=True, slots=True)
class Merge:
    """From now on ``other`` is the contact ``into``."""

    other: UUID
    into: UUID


@dataclass(slots=True)
class ContactPlan:
    """What has to be written for a batch of senders; ``contacts`` has the contact of each sender, in order.

    ``gained`` are identities that become linked to contacts which are known already, ``links`` are all that become
    linked. ``names`` and ``phones`` are what known contacts are called from now on.
    """

    contacts: list[UUID]
    made: list[NewContact] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    names: dict[UUID, str] = field(default_factory=dict)
    phones: dict[UUID, str] = field(default_factory=dict)
    gained: list[tuple[UUID, Identity]] = field(default_factory=list)
    links: list[tuple[UUID, Identity]] = field(default_factory=list)

    @property
    def pending_merges(self) -> set[UUID]:
        """The contacts whose threads or sessions a job must look at."""
        return {merge.other for merge in self.merges} | self.phones.keys()


@dataclass(slots=True, eq=False)
class _KnownPerson:
    """Senders who are one person, the contacts they are known as, and the identities that are linked to none."""

    senders: list[int] = field(default_factory=list)
    contacts: dict[UUID, LinkedContact] = field(default_factory=dict)
    unlinked: dict[Identity, None] = field(default_factory=dict)


def holder_at(links: Links, identity: Identity, at: datetime) -> LinkedContact | None:
    """Find whose identity it was at that time; a number that was given up before may be anybody's."""
    linked = links.get(identity)
    return linked if linked is not None and (linked.ended_at is None or at <= linked.ended_at) else None


def is_stranger(links: Links, sender: SenderProfile) -> bool:
    """Say whether none of the sender's identities leads to a contact."""
    return not any(holder_at(links, identity, sender.at) for identity in sender.identities)


def plan_contacts(senders: Sequence[SenderProfile], links: Links, new_id: Callable[[], UUID]) -> ContactPlan:
    """Decide which contact each sender is, and what that changes."""
    plan = ContactPlan(contacts=[UUID(int=0)] * len(senders))
    for person in _people(senders, links):
        said = [senders[place] for place in person.senders]
        # The latest name, since people change theirs; the first number, since it came first.
        name = next((sender.display_name for sender in reversed(said) if sender.display_name), None)
        phone = next((sender.phone for sender in said if sender.phone), None)
        if person.contacts:
            contact_id, *others = sorted(person.contacts, key=lambda c: (person.contacts[c].created_at, c))
            known = person.contacts[contact_id]
            plan.merges += [Merge(other, contact_id) for other in others]
            if name and name != known.display_name:
                plan.names[contact_id] = name
            if phone and known.phone is None:
                plan.phones[contact_id] = phone
            plan.gained += [(contact_id, identity) for identity in person.unlinked]
        else:
            contact_id, first = new_id(), said[0]
            plan.made.append(NewContact(contact_id, name or phone or first.label, phone, first.locale))
        plan.links += [(contact_id, identity) for identity in person.unlinked]
        for place in person.senders:
            plan.contacts[place] = contact_id
    return plan


def _people(senders: Sequence[SenderProfile], links: Links) -> list[_KnownPerson]:
    """Group the senders: who share an identity, or a contact, are one person."""
    people: list[_KnownPerson] = []
    by_node: dict[object, _KnownPerson] = {}
    for place, sender in enumerate(senders):
        person = _KnownPerson(senders=[place])
        for identity in sender.identities:
            linked = holder_at(links, identity, sender.at)
            if linked is None:
                person.unlinked[identity] = None
            else:
                person.contacts[linked.contact_id] = linked
        nodes: list[object] = [*person.unlinked, *person.contacts]
        for other in {id(p): p for node in nodes if (p := by_node.get(node))}.values():
            person.senders = other.senders + person.senders
            person.contacts = other.contacts | person.contacts
            person.unlinked = other.unlinked | person.unlinked
            people.remove(other)
        people.append(person)
        for node in (*person.unlinked, *person.contacts):
            by_node[node] = person
    for person in people:
        person.senders.sort()
    return people


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePlan:
    """What has to be written where a contact's identity *new* takes the place of *old*; at most one of the middle four.

    ``take_from`` loses the new number, which was another contact's until now; ``merge`` is a contact that turns out to
    be this one. ``is_number``: the old number ends, and the contact's phone changes.
    """

    contact_id: UUID
    link: bool = False
    reopen: bool = False
    take_from: UUID | None = None
    merge: UUID | None = None
    is_number: bool = False


def plan_change(old: Identity, new: Identity, at: datetime, links: Links) -> ChangePlan | None:
    """Decide what the channel's word that *new* took the place of *old* changes; None where nothing does.

    A number that belonged to an earlier owner is taken from them; whoever wrote from it only since about then is the
    person who changed.
    """
    holder, taken = links.get(old), links.get(new)
    if holder is None:
        return None
    contact_id, is_number = holder.contact_id, new.kind == NUMBER
    if taken is None:
        return ChangePlan(contact_id=contact_id, link=True, is_number=is_number)
    if taken.contact_id == contact_id:
        if taken.ended_at is None or taken.ended_at >= at:
            return None
        return ChangePlan(contact_id=contact_id, reopen=True, is_number=is_number)
    if is_number and taken.created_at < at - NOTICE_DELAY:
        return ChangePlan(contact_id=contact_id, take_from=taken.contact_id, is_number=is_number)
    return ChangePlan(contact_id=contact_id, merge=taken.contact_id, is_number=is_number)
