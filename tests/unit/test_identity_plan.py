"""Who wrote, decided without a database: who is one person, who is made, merged, renamed, and what becomes linked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dragoman.domain.nouns import Identity
from dragoman.store.contacts.identity_plan import (
    ChangePlan,
    LinkedContact,
    Links,
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
    return SenderProfile(identities=identities, display_name=name, phone=phone, locale="de", at=NOON)


def linked(
    contact_id: UUID, *, days: int = 10, ended_at: datetime | None = None, name: str = "Ana", phone: str | None = None
) -> LinkedContact:
    return LinkedContact(contact_id, ended_at, name, phone, NOON - timedelta(days=days))


def ids() -> UUID:
    return UUID(int=99)


def test_a_stranger_is_made_and_linked() -> None:
    plan = plan_contacts([sender(NUMBER, USER, name="Ana", phone="+436601112233")], Links({}), ids)
    assert plan.contacts == [ids()]
    assert plan.made == [NewContact(ids(), "Ana", "+436601112233", "de")]
    assert plan.links == [(ids(), NUMBER), (ids(), USER)]
    assert (plan.gained, plan.pending_merges) == ([], set())


def test_who_has_no_name_has_none_and_is_not_called_by_a_number() -> None:
    (made,) = plan_contacts([sender(USER, phone="+436601112233")], Links({}), ids).made
    assert made.display_name == ""


def test_two_messages_of_one_stranger_make_one_contact_with_the_latest_name() -> None:
    plan = plan_contacts([sender(NUMBER, name="Ana"), sender(NUMBER, USER, name="Ana Lima")], Links({}), ids)
    assert plan.contacts == [ids(), ids()]
    assert [contact.display_name for contact in plan.made] == ["Ana Lima"]


def test_a_message_that_names_both_brings_strangers_together() -> None:
    numbers = iter(UUID(int=n) for n in range(50, 60))
    plan = plan_contacts([sender(NUMBER), sender(USER), sender(NUMBER, USER)], Links({}), lambda: next(numbers))
    assert len(set(plan.contacts)) == len(plan.made) == 1


def test_the_oldest_of_several_contacts_survives() -> None:
    links = Links({NUMBER: linked(YOUNG, days=1), USER: linked(OLD, days=9)})
    plan = plan_contacts([sender(NUMBER, USER)], links, ids)
    assert plan.contacts == [OLD]
    assert plan.merges == [Merge(YOUNG, OLD)]
    assert plan.pending_merges == {YOUNG}
    assert (plan.made, plan.links) == ([], [])


def test_what_is_new_about_a_known_contact_is_taken_over() -> None:
    plan = plan_contacts([sender(NUMBER, USER, name="Ana Lima", phone="+43")], Links({NUMBER: linked(OLD)}), ids)
    assert (plan.names, plan.phones) == ({OLD: "Ana Lima"}, {OLD: "+43"})
    assert plan.gained == plan.links == [(OLD, USER)]
    assert plan.pending_merges == {OLD}


def test_what_is_known_already_changes_nothing() -> None:
    links = Links({NUMBER: linked(OLD, phone="+43", name="Ana")})
    plan = plan_contacts([sender(NUMBER, name="Ana", phone="+44"), sender(NUMBER)], links, ids)
    assert plan.contacts == [OLD, OLD]
    assert (plan.made, plan.merges, plan.names, plan.phones, plan.links) == ([], [], {}, {}, [])


def test_a_number_that_was_given_up_before_belongs_to_nobody() -> None:
    links = Links({NUMBER: linked(OLD, ended_at=NOON - timedelta(seconds=1))})
    plan = plan_contacts([sender(NUMBER)], links, ids)
    assert plan.contacts == [ids()]
    late = Links({NUMBER: linked(OLD, ended_at=NOON)})
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
    assert plan_change(old, new, NOON, Links(links)) == plan


WITH_9, WITHOUT_9 = (Identity(kind="wa_id", value=value) for value in ("5511987654321", "551187654321"))


def test_another_spelling_of_a_number_is_linked_and_gains_nobody_anything() -> None:
    plan = plan_contacts([sender(WITHOUT_9)], Links({WITH_9: linked(OLD)}), ids)
    assert plan.contacts == [OLD]
    assert (plan.made, plan.gained, plan.links) == ([], [], [(OLD, WITHOUT_9)])


def test_two_spellings_of_a_stranger_are_one_person() -> None:
    plan = plan_contacts([sender(WITHOUT_9), sender(WITH_9)], Links({}), ids)
    assert len(plan.made) == 1


def test_two_contacts_in_two_spellings_become_one() -> None:
    links = Links({WITH_9: linked(YOUNG, days=1), WITHOUT_9: linked(OLD, days=9)})
    assert plan_contacts([sender(WITH_9)], links, ids).merges == [Merge(YOUNG, OLD)]


def test_whoever_gave_the_number_up_later_held_it_at_the_time() -> None:
    links = Links({WITH_9: linked(OLD, ended_at=NOON + timedelta(days=1)), WITHOUT_9: linked(YOUNG, days=0)})
    plan = plan_contacts([sender(WITHOUT_9)], links, ids)
    assert (plan.contacts, plan.merges) == ([OLD], [])


def test_a_change_to_another_spelling_changes_nothing() -> None:
    assert plan_change(WITHOUT_9, WITH_9, NOON, Links({WITHOUT_9: linked(OLD)})) is None
