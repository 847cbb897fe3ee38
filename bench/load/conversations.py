"""What was said and decided: rows of sessions, messages, their words and audit events, for COPY.

On average six messages and eight events a session. Events have the payloads of the catalogue and are sealed in a chain
like real ones: ``dragoman audit verify`` finds nothing wrong with them.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import accumulate
from uuid import UUID

from bench.load.people import SKILLS, LoadIds, LoadPerson, Population
from bench.load.vocabulary import Texts
from dragoman.domain import search_words

DAYS = 90
NULL = "\\N"
LONG_MESSAGES, LONG_SESSIONS = 5_000, 3
"""The largest tenant has that many sessions with that many messages, and three times as many events."""
LARGE = 5_000
"""A tenant with fewer sessions in a shard has none so long."""
MIDDLE_MESSAGES = 20

SESSION = (
    "tenant_id, session_id, thread_id, contact_id, channel_account_id, state, state_path, outcome, outcome_reason, "
    "intent, skill, contact_name, contact_phone, business_partner_id, business_partner_name, channel, channel_display, "
    "agent_name, last_user_message, message_count, item_count, error_count, dispatch_count, misses, cost_micros, "
    "started_at, last_activity_at, resolved_at, next_position, head"
)
MESSAGE = (
    "tenant_id, session_id, ordinal, at, message_id, sender, sender_name, kind, content, channel_at, "
    "channel_message_id, dispatch_id"
)
EVENT = (
    "tenant_id, session_id, position, at, type, schema_version, actor_kind, actor_name, dispatch_id, trace_id, "
    "payload, seal"
)
WORDS = "tenant_id, session_id, ordinal, at, words"
OUTCOMES = (
    ("SUCCESS", 74),
    ("HANDOFF", 8),
    ("SKILL_ERROR", 6),
    ("NONE", 5),
    ("TO_AGENT", 3),
    ("PARTIAL_FLOW_FAILURE", 1.5),
    ("VERIFICATION_REQUIRED", 1),
    ("RATE_LIMITED", 0.7),
    ("BUDGET_EXCEEDED", 0.4),
    ("SKILL_RETIRED", 0.25),
    ("DISPATCH_ORPHANED", 0.1),
    ("SESSION_BUSY", 0.05),
)
AGENTS = ("Olga Petrenko", "Tomás Silva", "Ingrid Berg", "Ravi Nair")
EXCHANGES = (1, 1, 2, 2, 3, 3, 4, 5, 6)
"""A contact's messages in one session, each with an answer: three on average."""


@dataclass(slots=True)
class LoadRows:
    """Lines for COPY in its text format."""

    session: list[str]
    message: list[str]
    words: list[str]
    event: list[str]


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _spelled(micros: int) -> str:
    """As seals spell a time; PostgreSQL reads it too."""
    return f"{_second(micros // 1_000_000)}.{micros % 1_000_000:06d}Z"


class LoadWriter:
    """Makes the sessions of one shard of one tenant, in the order in which they were started."""

    def __init__(self, population: Population, texts: Texts, begin: int, *, shard: int, shards: int, seed: int) -> None:
        self._chance = random.Random(f"{seed}/{population.number}/{shard}")
        self._ids = LoadIds(self._chance)
        self._population = population
        self._tenant = UUID(population.tenant_id)
        self._texts = texts
        self._begin = begin
        self._count = population.sessions // shards
        # A contact's sessions are of one shard: at most one of them is in progress.
        self._people = population.people[shard::shards]
        self._shares = list(accumulate((rank + 20) ** -0.7 for rank in range(len(self._people))))
        self._in_progress: set[str] = set()
        self._special = self._specials() if population.number == 0 and shard == 0 and self._count >= LARGE else {}

    def _specials(self) -> dict[int, int]:
        places = {self._count * part // (LONG_SESSIONS + 1): LONG_MESSAGES for part in range(1, LONG_SESSIONS + 1)}
        return places | {place + 1: MIDDLE_MESSAGES for place in places}

    def rows(self, batch: int) -> Iterator[LoadRows]:
        """All of them, *batch* sessions at a time."""
        rows = LoadRows([], [], [], [])
        people = self._chance.choices(self._people, cum_weights=self._shares, k=self._count)
        outcomes = self._chance.choices(*zip(*OUTCOMES, strict=True), k=self._count)
        skills = self._chance.choices(*zip(*SKILLS, strict=True), k=self._count)
        step = DAYS * 86_400_000_000 // max(self._count, 1)
        for number in range(self._count):
            at = self._begin * 1000 + number * step + self._chance.randrange(step)
            messages = self._special.get(number)
            exchanges = messages // 2 if messages else self._chance.choice(EXCHANGES)
            dense = messages == LONG_MESSAGES
            recent = number > self._count * 0.995
            self._one(rows, people[number], outcomes[number], skills[number], at, exchanges, recent=recent, dense=dense)
            if len(rows.session) == batch:
                yield rows
                rows = LoadRows([], [], [], [])
        yield rows

    def _one(
        self,
        rows: LoadRows,
        who: LoadPerson,
        outcome: str,
        skill: str,
        at: int,
        exchanges: int,
        *,
        recent: bool,
        dense: bool,
    ) -> None:
        """One session: what was said, what was decided, and its row."""
        tenant, session = self._population.tenant_id, self._ids.at(at // 1000)
        state = self._state(who, outcome, recent)
        said = ""
        begun = at
        chain = _Chain(rows.event, tenant, session)
        dispatch = self._ids.at(at // 1000)
        chain.add(at, "session.opened", dispatch, '{"channel":"whatsapp","previous_session_id":null}')
        for turn in range(exchanges):
            at += self._chance.randrange(4_000_000, 90_000_000)
            said = self._texts.sentence()
            ordinal = turn * 2 + 1
            digest = self._message(rows, tenant, session, ordinal, at, "contact", who.name, said, dispatch)
            if turn == 0 or dense:
                chain.decided(at, dispatch, digest, skill, self._chance)
            at += self._chance.randrange(30_000, 900_000)
            answer = self._texts.sentence()
            digest = self._message(rows, tenant, session, ordinal + 1, at, "bot", "", answer, dispatch)
            if dense:
                chain.answered(at, dispatch, digest)
        chain.ended(at, dispatch, outcome, state)
        self._findable(rows, session, 0, begun, who.name)
        partner = who.partner
        ended = state in {"RESOLVED", "EXPIRED"}
        rows.session.append(
            f"{tenant}\t{session}\t{who.thread_id}\t{who.contact_id}\t{self._population.accounts[who.account]}\t"
            f"{state}\t{state}\t{outcome}\tas the skill said\t{skill}\t{skill}\t{who.name}\t{who.phone}\t"
            + (
                f"{NULL}\t{NULL}"
                if partner is None
                else f"{self._population.partners[partner]}\tPartner {partner} GmbH"
            )
            + f"\twhatsapp\t+43 1 555 01{who.account:02d}\t"
            + (self._chance.choice(AGENTS) if outcome in {"HANDOFF", "TO_AGENT"} else NULL)
            + f"\t{said}\t{exchanges * 2}\t{exchanges * 2}\t"
            f"{int(outcome.endswith(('ERROR', 'FAILURE', 'ORPHANED')))}\t{exchanges}\t0\t"
            f"{exchanges * 5}\t{_spelled(begun)}\t{_spelled(at)}\t{_spelled(at) if ended else NULL}\t"
            f"{chain.position}\t\\\\x{chain.head.hex()}\n"
        )

    def _state(self, who: LoadPerson, outcome: str, recent: bool) -> str:
        if outcome == "NONE":
            return "EXPIRED"
        if not recent or who.thread_id in self._in_progress or self._chance.random() < 0.5:
            return "RESOLVED"
        self._in_progress.add(who.thread_id)
        if outcome in {"HANDOFF", "TO_AGENT"}:
            return "WITH_AGENT"
        return self._chance.choice(("ACTIVE", "AWAITING_USER", "AWAITING_USER", "PROCESSING"))

    def _message(
        self,
        rows: LoadRows,
        tenant: str,
        session: str,
        ordinal: int,
        at: int,
        sender: str,
        name: str,
        said: str,
        by: str,
    ) -> str:
        """Write it; the digest of its content, as events name it."""
        when = _spelled(at)
        message_id = self._ids.at(at // 1000)
        content = f'{{"body":"{said}","kind":"text"}}'
        channel = f"{when}\twamid.{message_id}" if sender == "contact" else f"{NULL}\t{NULL}"
        rows.message.append(
            f"{tenant}\t{session}\t{ordinal}\t{when}\t{message_id}\t{sender}\t{name}\ttext\t{content}\t{channel}\t{by}\n"
        )
        self._findable(rows, session, ordinal, at, said)
        digest = hashlib.sha256(content.encode()).hexdigest()
        return f'"content_digest":"{digest}","kind":"text","message_id":"{message_id}"'

    def _findable(self, rows: LoadRows, session: str, ordinal: int, at: int, text: str) -> None:
        words = search_words.vector(self._tenant, text)
        rows.words.append(f"{self._population.tenant_id}\t{session}\t{ordinal}\t{_spelled(at)}\t{words}\n")


class _Chain:
    """A session's events, sealed one after the other as ``dragoman.ledger.seal`` has it."""

    def __init__(self, rows: list[str], tenant: str, session: str) -> None:
        self._rows = rows
        self._tenant = tenant
        self._session = session
        self.position = 1
        self.head = bytes(32)

    def add(self, at: int, kind: str, dispatch: str, payload: str) -> None:
        """Append an event; *payload* is JSON with sorted members and without spaces."""
        when = _spelled(at)
        canonical = (
            f'{{"actor_kind":"dispatcher","actor_name":"","at":"{when}","dispatch_id":"{dispatch}",'
            f'"payload":{payload},"position":{self.position},"schema_version":1,"session_id":"{self._session}",'
            f'"trace_id":null,"type":"{kind}"}}'
        )
        self.head = hashlib.sha256(self.head + canonical.encode()).digest()
        self._rows.append(
            f"{self._tenant}\t{self._session}\t{self.position}\t{when}\t{kind}\t1\tdispatcher\t\t{dispatch}\t{NULL}\t"
            f"{payload}\t\\\\x{self.head.hex()}\n"
        )
        self.position += 1

    def decided(self, at: int, dispatch: str, received: str, skill: str, chance: random.Random) -> None:
        """A message came in, was understood and a skill was run."""
        confidence = chance.randrange(550, 990) / 1000
        took = chance.randrange(200, 90_000) / 100
        self.add(
            at,
            "message.received",
            dispatch,
            f'{{"channel_at":"{_spelled(at)}","channel_message_id":"wamid.{at}",{received}}}',
        )
        self.add(
            at,
            "classifier.ran",
            dispatch,
            f'{{"candidates":[{{"confidence":{confidence},"intent":"{skill}"}}],"classifier":"local",'
            f'"classifier_version":"1","cost_micros":5,"duration_ms":1.5,"threshold":0.5}}',
        )
        self.add(
            at,
            "intent.assigned",
            dispatch,
            f'{{"confidence":{confidence},"detail":"local 1","intent":"{skill}","source":"classifier"}}',
        )
        self.add(
            at,
            "skill.invoked",
            dispatch,
            f'{{"attempt":1,"max_attempts":3,"parameters":{{}},"skill":"{skill}","skill_version":"1.0.0",'
            f'"timeout_seconds":10.5}}',
        )
        self.add(
            at,
            "skill.succeeded",
            dispatch,
            f'{{"attempt":1,"cost_micros":0,"duration_ms":{took},"result":{{}},"skill":"{skill}"}}',
        )

    def answered(self, at: int, dispatch: str, sent: str) -> None:
        """A reply was put into the outbox."""
        self.add(at, "message.sent", dispatch, f'{{{sent},"sender":"bot"}}')

    def ended(self, at: int, dispatch: str, outcome: str, state: str) -> None:
        """The outcome, and the end if there was one."""
        self.add(at, "outcome.assigned", dispatch, f'{{"outcome":"{outcome}","reason":"as the skill said"}}')
        if state == "RESOLVED":
            self.add(at, "session.resolved", dispatch, '{"reason":"nothing is left to do"}')
        elif state == "EXPIRED":
            self.add(at, "session.expired", dispatch, '{"allowed_seconds":900,"idle_seconds":901}')
