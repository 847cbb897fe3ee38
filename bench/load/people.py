"""Who writes to whom: tenants, channel accounts, contacts with their threads, business partners, skills."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

TENANT_SHARES = (70, 12, 7, 4, 2.5, 1.5, 1, 0.8, 0.7, 0.5)
"""In percent of all sessions: one large tenant, and what stands beside it in the same tables."""
ACCOUNTS = 3
SKILLS = tuple(
    (f"{service}.{name}", share)
    for service, name, share in (
        ("orders", "status", 30),
        ("stores", "hours", 18),
        ("orders", "return", 14),
        ("finance", "invoices", 12),
        ("finance", "ar_balance", 10),
        ("support", "open_ticket", 9),
        ("products", "price", 4),
        ("deliveries", "move", 2.5),
        ("payments", "pay", 0.45),
        ("legal", "erasure", 0.05),
    )
)
RARE_SKILL, COMMON_SKILL = "legal.erasure", "orders.status"
_COUNTRIES = (("43660", 7), ("49151", 7), ("35191", 7), ("34612", 6), ("39333", 7), ("91981", 7))
_NAMES = ("Ana", "Bruno", "Chiara", "Dmitri", "Elif", "Fatima", "Goran", "Hana", "Ivo", "Jana", "Kofi", "Léa", "Mira")
_FAMILIES = ("Adler", "Brandt", "Costa", "Dubois", "Eder", "Ferrari", "Gruber", "Horvat", "Ilić", "Jansen", "Kaya")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPerson:
    """A contact with its thread; ids as PostgreSQL reads them."""

    contact_id: str
    thread_id: str
    account: int
    name: str
    phone: str
    partner: int | None


class LoadIds:
    """Version 7 UUIDs from a seeded source: the same ones at each run."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def at(self, milliseconds: int) -> str:
        """An id of that moment (Unix time)."""
        bits = self._chance.getrandbits(74)
        h = f"{milliseconds << 80 | 0x7 << 76 | (bits >> 62) << 64 | 0b10 << 62 | bits & (1 << 62) - 1:032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class Population:
    """One tenant's people; a few write very often."""

    def __init__(self, number: int, sessions: int, begin: int, *, seed: int) -> None:
        self._chance = random.Random(f"{seed}/{number}")
        ids = LoadIds(self._chance)
        self.number = number
        self.sessions = sessions
        self.tenant_id = ids.at(begin)
        self.accounts = [ids.at(begin) for _ in range(ACCOUNTS)]
        self.partners = [ids.at(begin) for _ in range(max(sessions // 40, 2))]
        self.people = [self._person(who, ids, begin) for who in range(max(sessions // 5, 10))]

    def _person(self, who: int, ids: LoadIds, begin: int) -> LoadPerson:
        prefix, digits = _COUNTRIES[who % len(_COUNTRIES)]
        return LoadPerson(
            contact_id=ids.at(begin),
            thread_id=ids.at(begin),
            account=self._chance.choices(range(ACCOUNTS), (80, 19, 1))[0],
            name=f"{self._chance.choice(_NAMES)} {self._chance.choice(_FAMILIES)}",
            # Spread over the digits, and none twice: the factor has no divisor in common with a power of ten.
            phone=f"+{prefix}{who * 7_654_321 % 10**digits:0{digits}d}",
            partner=self._chance.randrange(len(self.partners)) if self._chance.random() < 0.3 else None,
        )

    @cached_property
    def shares(self) -> list[float]:
        """How much each person writes, summed up: a long tail after a few busy ones."""
        return list(accumulate((rank + 20) ** -0.7 for rank in range(len(self.people))))


def populations(sessions: int, begin: int, *, seed: int) -> list[Population]:
    """All tenants with their share of *sessions*, the largest first; *begin* is Unix time in milliseconds."""
    return [
        Population(number, round(sessions * share / 100), begin, seed=seed)
        for number, share in enumerate(TENANT_SHARES)
    ]
