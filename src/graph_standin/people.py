"""The people that a business portfolio knows: by number, by business-scoped user id, or by both.

https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import phonenumbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Is one WhatsApp user. ``user_id`` is None for somebody played as before April 2026, without one."""

    wa_id: str | None
    user_id: str | None
    name: str
    username: str | None = None

    def as_contact(self, *, with_username: bool = True) -> dict[str, Any]:
        """Write the person as an element of ``contacts``."""
        profile = {"name": self.name}
        if self.username is not None and with_username:
            profile["username"] = self.username
        ids = {"wa_id": self.wa_id, "user_id": self.user_id}
        return {"profile": profile, **{key: value for key, value in ids.items() if value is not None}}


def made_up_user_id(wa_id: str) -> str:
    """The user id that a number has unless another was given: the same at each start, and with its country."""
    digest = int.from_bytes(hashlib.sha256(wa_id.encode()).digest())
    try:
        country = phonenumbers.region_code_for_country_code(phonenumbers.parse(f"+{wa_id}").country_code or 0)
    except phonenumbers.NumberParseException:
        country = "ZZ"
    return f"{country if country.isalpha() else 'ZZ'}.{digest % 10**20:020d}"


class People:
    """Who has written or was written to; a person met again keeps what was known and is not said anew."""

    def __init__(self, user_ids: Mapping[str, str]) -> None:
        self._user_ids = user_ids
        self._by_id: dict[str, Person] = {}

    def user_id_of(self, wa_id: str) -> str:
        """Give the user id of a number."""
        return self._user_ids.get(wa_id) or made_up_user_id(wa_id)

    def meet(
        self, *, wa_id: str | None, user_id: str | None, name: str | None = None, username: str | None = None
    ) -> Person:
        """Remember a person under each id that is given."""
        known = self._by_id.get(user_id or "") or self._by_id.get(wa_id or "")
        if known is None:
            known = Person(wa_id=wa_id, user_id=user_id, name=name or wa_id or user_id or "", username=username)
        person = replace(
            known,
            wa_id=wa_id or known.wa_id,
            user_id=user_id or known.user_id,
            name=name or known.name,
            username=username or known.username,
        )
        for found in (person.wa_id, person.user_id):
            if found is not None:
                self._by_id[found] = person
        return person

    def addressed(self, *, wa_id: str | None, user_id: str | None) -> Person:
        """Find the person that a message was sent to, by number or by user id."""
        if wa_id is not None:
            known = self._by_id.get(wa_id)
            return known or self.meet(wa_id=wa_id, user_id=self.user_id_of(wa_id))
        return self.meet(wa_id=None, user_id=user_id)
