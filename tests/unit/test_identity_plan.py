"""Who wrote, decided without a database: who is one person, who is made, merged, renamed, and what becomes linked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dragoman.domain.nouns import Identity
from dragoman.store.contacts.identity_plan import (
    ChangePlan,
    LinkedContact,
    Merge,
    NewContact,
    SenderProfile,
    plan_change,
    plan_contacts,
)

NOON = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)
NUMBER = Identity(kind="wa_id", value="436601112233")
OTHER_NUMBER = Identity(kind="wa_id", value="436601112244")
USER = Identity(kind="wa_user_id", value="u1")
OTHER_USER = Identity(kind="wa_user_id", value="u2")
OLD, YOUNG = UUID(int=1), UUID(int=2)


def sender(*identities: Identity, name: str | None = None, phone: str | None = None) -> SenderProfile:
    return SenderProfile(
        identities=identities, display_name=name, label=identities[0].value, phone=phone, locale="de", at=NOON
    )


def linked(
    contact_id: UUID, *, days: int = 10, ended_at: datetime | None = None, name: str = "Ana", phone: str | None = None
) -> LinkedContact:
    return LinkedContact(contact_id, ended_at, name, phone, NOON - timedelta(days=days))


def ids() -> UUID:
    return UUID(int=99)


def test_a_stranger_is_made_and_linked() -> None:
    plan = plan_contacts([sender(NUMBER, USER, name="Ana", phone="+436601112233")], {}, ids)
    assert plan.contacts == [ids()]
    assert plan.made == [NewContact(ids(), "Ana", "+436601112233", "de")]
    assert plan.links == [(ids(), NUMBER), (ids(), USER)]
    assert (plan.gained, plan.pending_merges) == ([], set())


@pytest.mark.parametrize(
    ("name", "phone", "called"),
    [(None, "+436601112233", "+436601112233"), (None, None, "u1"), ("Ana", None, "Ana")],
)
def test_who_has_no_name_is_called_by_the_number_or_the_identity(
    name: str | None, phone: str | None, called: str
) -> None:
    (made,) = plan_contacts([sender(USER, name=name, phone=phone)], {}, ids).made
    assert made.display_name == called


def test_two_messages_of_one_stranger_make_one_contact_with_the_latest_name() -> None:
    plan = plan_contacts([sender(NUMBER, name="Ana"), sender(NUMBER, USER, name="Ana Lima")], {}, ids)
    assert plan.contacts == [ids(), ids()]
    assert [contact.display_name for contact in plan.made] == ["Ana Lima"]


def test_a_message_that_names_both_brings_strangers_together() -> None:
    numbers = iter(UUID(int=n) for n in range(50, 60))
    plan = plan_contacts([sender(NUMBER), sender(USER), sender(NUMBER, USER)], {}, lambda: next(numbers))
    assert len(set(plan.contacts)) == len(plan.made) == 1


def test_the_oldest_of_several_contacts_survives() -> None:
    links = {NUMBER: linked(YOUNG, days=1), USER: linked(OLD, days=9)}
    plan = plan_contacts([sender(NUMBER, USER)], links, ids)
    assert plan.contacts == [OLD]
    assert plan.merges == [Merge(YOUNG, OLD)]
    assert plan.pending_merges == {YOUNG}
    assert (plan.made, plan.links) == ([], [])


def test_what_is_new_about_a_known_contact_is_taken_over() -> None:
    plan = plan_contacts([sender(NUMBER, USER, name="Ana Lima", phone="+43")], {NUMBER: linked(OLD)}, ids)
    assert (plan.names, plan.phones) == ({OLD: "Ana Lima"}, {OLD: "+43"})
    assert plan.gained == plan.links == [(OLD, USER)]
    assert plan.pending_merges == {OLD}


def test_what_is_known_already_changes_nothing() -> None:
    links = {NUMBER: linked(OLD, phone="+43", name="Ana")}
    plan = plan_contacts([sender(NUMBER, name="Ana", phone="+44"), sender(NUMBER)], links, ids)
    assert plan.contacts == [OLD, OLD]
    assert (plan.made, plan.merges, plan.names, plan.phones, plan.links) == ([], [], {}, {}, [])


def test_a_number_that_was_given_up_before_belongs_to_nobody() -> None:
    links = {NUMBER: linked(OLD, ended_at=NOON - timedelta(seconds=1))}
    plan = plan_contacts([sender(NUMBER)], links, ids)
    assert plan.contacts == [ids()]
    late = {NUMBER: linked(OLD, ended_at=NOON)}
    assert plan_contacts([sender(NUMBER)], late, ids).contacts == [OLD]


CHANGES = {
    "nobody has the old one": (NUMBER, OTHER_NUMBER, {}, None),
    "a new number": (
        NUMBER, OTHER_NUMBER, {NUMBER: linked(OLD)},
        ChangePlan(contact_id=OLD, link=True, is_number=True),
    ),
    "a new user id": (
        USER, OTHER_USER, {USER: linked(OLD)},
        ChangePlan(contact_id=OLD, link=True),
    ),
    "said twice": (NUMBER, OTHER_NUMBER, {NUMBER: linked(OLD), OTHER_NUMBER: linked(OLD)}, None),
    "back to a number of before": (
        NUMBER, OTHER_NUMBER,
        {NUMBER: linked(OLD), OTHER_NUMBER: linked(OLD, ended_at=NOON - timedelta(days=1))},
        ChangePlan(contact_id=OLD, reopen=True, is_number=True),
    ),
    "the number had an owner": (
        NUMBER, OTHER_NUMBER, {NUMBER: linked(OLD), OTHER_NUMBER: linked(YOUNG, days=5)},
        ChangePlan(contact_id=OLD, take_from=YOUNG, is_number=True),
    ),
    "the number wrote before the notice came": (
        NUMBER, OTHER_NUMBER, {NUMBER: linked(OLD), OTHER_NUMBER: linked(YOUNG, days=0)},
        ChangePlan(contact_id=OLD, merge=YOUNG, is_number=True),
    ),
    "the user id is another contact's": (
        USER, OTHER_USER, {USER: linked(OLD), OTHER_USER: linked(YOUNG, days=5)},
        ChangePlan(contact_id=OLD, merge=YOUNG),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_change_of_identity_asks_for(case: str) -> None:
    old, new, links, plan = CHANGES[case]
    assert plan_change(old, new, NOON, links) == plan
