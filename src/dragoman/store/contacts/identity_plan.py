"""Decides who wrote: from the identities of some senders and whom these are linked to, what has to be written.

Pure: it reads no table and no clock. :mod:`dragoman.store.contacts.identities` looks up the links and carries a plan
out. The rules are those of decision 0016: senders who share an identity or a contact are one person; where several
contacts turn out to be one person the oldest survives. Two spellings of one number are one identity (decision 0047).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from dragoman.domain.nouns import Identity
from dragoman.numbering import person_key

NOTICE_DELAY = timedelta(days=1)
"""By how much a message from a new number may come before the notice that names it."""

NUMBER = "wa_id"
"""The kind of identity that is a phone number: it can be given up, and belong to somebody else later."""

GROUP = "wa_group"
"""The kind of identity that is a group: it stands for a conversation of its own, and nobody is a part of it here."""


def match_key(identity: Identity) -> str:
    """What two identities of one kind have in common where they are the same, however they are written."""
    return person_key(identity.value) if identity.kind == NUMBER else identity.value


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderProfile:
    """Describes the sender of one message as the channel does; ``at`` is when they wrote.

    ``default_name`` is what a new contact is called who gave no name.
    """

    identities: tuple[Identity, ...]
    display_name: str | None
    phone: str | None
    locale: str
    at: datetime
    username: str | None = None
    default_name: str = ""


@dataclass(frozen=True, slots=True)
class LinkedContact:
    """The contact that an identity is linked to; ``ended_at`` is when the identity was given up."""

    contact_id: UUID
    ended_at: datetime | None
    display_name: str
    phone: str | None
    created_at: datetime
    username: str | None = None


class Links:
    """Whom identities are linked to, by each as it is written and by all spellings of it."""

    def __init__(self, found: Mapping[Identity, LinkedContact]) -> None:
        self._found = dict(found)
        self._same: dict[tuple[str, str], list[LinkedContact]] = {}
        for identity, linked in self._found.items():
            self._same.setdefault((identity.kind, match_key(identity)), []).append(linked)

    def as_written(self, identity: Identity) -> LinkedContact | None:
        """Whom this spelling is linked to."""
        return self._found.get(identity)

    def holders_at(self, identity: Identity, at: datetime) -> list[LinkedContact]:
        """Find whose identity it was at that time; a number that was given up before may be anybody's.

        More than one where two contacts have two spellings of it. Whoever gave it up later held it then.
        """
        there = self._same.get((identity.kind, match_key(identity)), ())
        valid = [linked for linked in there if linked.ended_at is None or at <= linked.ended_at]
        return [linked for linked in valid if linked.ended_at is not None] or valid

    def latest(self, identity: Identity) -> LinkedContact | None:
        """Whose identity it is, or was at last."""
        there = self._same.get((identity.kind, match_key(identity)), ())
        return max(
            there, key=lambda linked: (linked.ended_at is None, linked.ended_at or linked.created_at), default=None
        )


@dataclass(frozen=True, slots=True)
class NewContact:
    """A contact that has to be made."""

    contact_id: UUID
    display_name: str
    phone: str | None
    locale: str
    username: str | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """From now on ``other`` is the contact ``into``."""

    other: UUID
    into: UUID


@dataclass(slots=True)
class ContactPlan:
    """What has to be written for a batch of senders; ``contacts`` has the contact of each sender, in order.

    ``gained`` are identities that become linked to contacts which are known already, ``links`` are all that become
    linked. ``names``, ``usernames`` and ``phones`` are what known contacts are called from now on.
    """

    contacts: list[UUID]
    made: list[NewContact] = field(default_factory=list)
    merges: list[Merge] = field(default_factory=list)
    names: dict[UUID, str] = field(default_factory=dict)
    usernames: dict[UUID, str] = field(default_factory=dict)
    phones: dict[UUID, str] = field(default_factory=dict)
    gained: list[tuple[UUID, Identity]] = field(default_factory=list)
    links: list[tuple[UUID, Identity]] = field(default_factory=list)

    @property
    def touched(self) -> set[UUID]:
        """The contacts that are known already and of which something changes."""
        merged = {contact_id for one in self.merges for contact_id in (one.other, one.into)}
        linked = {contact_id for contact_id, _ in self.links} - {contact.contact_id for contact in self.made}
        return merged | linked | self.names.keys() | self.usernames.keys() | self.phones.keys()

    @property
    def pending_merges(self) -> set[UUID]:
        """The contacts whose threads or sessions a job must look at."""
        return {merge.other for merge in self.merges} | self.phones.keys()


@dataclass(slots=True, eq=False)
class _KnownPerson:
    """Senders who are one person, the contacts they are known as, and the identities that are linked to none.

    ``respelled`` are new spellings of what is linked.
    """

    senders: list[int] = field(default_factory=list)
    contacts: dict[UUID, LinkedContact] = field(default_factory=dict)
    unlinked: dict[Identity, None] = field(default_factory=dict)
    respelled: dict[Identity, None] = field(default_factory=dict)


def is_stranger(links: Links, sender: SenderProfile) -> bool:
    """Say whether none of the sender's identities leads to a contact."""
    return not any(links.holders_at(identity, sender.at) for identity in sender.identities)


def plan_contacts(senders: Sequence[SenderProfile], links: Links, new_id: Callable[[], UUID]) -> ContactPlan:
    """Decide which contact each sender is, and what that changes."""
    plan = ContactPlan(contacts=[UUID(int=0)] * len(senders))
    for person in _people(senders, links):
        said = [senders[place] for place in person.senders]
        # The latest name, since people change theirs; the first number, since it came first.
        name = next((sender.display_name for sender in reversed(said) if sender.display_name), None)
        phone = next((sender.phone for sender in said if sender.phone), None)
        username = next((sender.username for sender in reversed(said) if sender.username), None)
        if person.contacts:
            contact_id, *others = sorted(person.contacts, key=lambda c: (person.contacts[c].created_at, c))
            known = person.contacts[contact_id]
            plan.merges += [Merge(other, contact_id) for other in others]
            if name and name != known.display_name:
                plan.names[contact_id] = name
            if username and username != known.username:
                plan.usernames[contact_id] = username
            if phone and known.phone is None:
                plan.phones[contact_id] = phone
            plan.gained += [(contact_id, identity) for identity in person.unlinked]
        else:
            contact_id = new_id()
            plan.made.append(NewContact(contact_id, name or said[0].default_name, phone, said[0].locale, username))
        plan.links += [(contact_id, identity) for identity in (*person.unlinked, *person.respelled)]
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
            holders = links.holders_at(identity, sender.at)
            person.contacts |= {linked.contact_id: linked for linked in holders}
            written = links.as_written(identity)
            if not holders:
                person.unlinked[identity] = None
            elif written is None or all(written.contact_id != linked.contact_id for linked in holders):
                person.respelled[identity] = None
        for other in {id(p): p for node in _nodes(person) if (p := by_node.get(node))}.values():
            person.senders = other.senders + person.senders
            person.contacts = other.contacts | person.contacts
            person.unlinked = other.unlinked | person.unlinked
            person.respelled = other.respelled | person.respelled
            people.remove(other)
        people.append(person)
        for node in _nodes(person):
            by_node[node] = person
    for person in people:
        person.senders.sort()
    return people


def _nodes(person: _KnownPerson) -> list[object]:
    """What makes another sender the same person: an identity in any spelling, or a contact."""
    return [*((identity.kind, match_key(identity)) for identity in person.unlinked), *person.contacts]


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
    holder, taken = links.latest(old), links.latest(new)
    if holder is None or match_key(old) == match_key(new):
        # Another spelling of the same number is linked as any is.
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
