"""What the filters of the Conversation Logs offer to choose from, as it is in this tenant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from dragoman.services.visibility import EVERYTHING, Visibility
from dragoman.store import reviews
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.conversation_list import conversations
from dragoman.store.database import Connection
from dragoman.translations import deferred
from dragoman.web.console import wording

SORTS = {
    "": deferred("Latest activity"),
    "activity": deferred("Oldest activity"),
    "-started": deferred("Latest start"),
    "started": deferred("Oldest start"),
    "-duration": deferred("Longest"),
    "duration": deferred("Shortest"),
    "-messages": deferred("Most messages"),
    "messages": deferred("Fewest messages"),
}
"""What the list can be sorted by, as addresses and as people name it."""

ORDERS = {
    "": deferred("latest activity first"),
    "activity": deferred("oldest activity first"),
    "-started": deferred("latest start first"),
    "started": deferred("oldest start first"),
    "-duration": deferred("longest first"),
    "duration": deferred("shortest first"),
    "-messages": deferred("most messages first"),
    "messages": deferred("fewest messages first"),
}
"""In which order the list stands, by the same names."""

Named = list[tuple[str, str]]
"""Names with what people call them."""


@dataclass(frozen=True, slots=True)
class Choices:
    """Holds each list of choices; ``intents`` are neither skill nor flow, ``tags`` are those of reviewers.

    Intents and agents are those that any session knows.
    """

    intents: Named
    flows: Named
    skills: Named
    accounts: list[ChannelAccount]
    agents: list[str]
    tags: list[str]
    sorts: Mapping[str, str]
    orders: Mapping[str, str]

    @property
    def options(self) -> dict[str, list[tuple[str, Named]]]:
        """Is what can be ticked in each filter that takes several values, in titled groups."""
        accounts = [(str(each.channel_account_id), each.display) for each in self.accounts]
        outcomes = [(key, words.label) for key, words in wording.OUTCOMES.items()]
        return {
            "skill_intent": [
                (deferred("Intents"), self.intents),
                (deferred("Flows"), self.flows),
                (deferred("Skills"), self.skills),
            ],
            "outcome": [(deferred("Outcome"), outcomes)],
            "had": [(deferred("Ever had outcome"), outcomes)],
            "channel": [(deferred("All of a kind"), list(wording.CHANNELS.items())), (deferred("Accounts"), accounts)],
            "agent": [(deferred("Agent"), [(name, name) for name in self.agents])],
            "tag": [(deferred("Tag"), [(name, name) for name in self.tags])],
        }

    @property
    def labels(self) -> dict[str, str]:
        """Is what people call each intent, flow and skill."""
        return dict([*self.intents, *self.flows, *self.skills])


async def load(connection: Connection, tenant_id: UUID, visibility: Visibility = EVERYTHING) -> Choices:
    """Read them, as *visibility* may see them; each is short."""
    flows, skills = await conversations.flows_and_skills(connection, tenant_id)
    agents, intents = await conversations.agents_and_intents(connection, tenant_id)
    known = {name for name, _ in (*flows, *skills)}
    return Choices(
        intents=[(name, label_of(name)) for name in intents if name not in known],
        flows=flows,
        skills=skills,
        accounts=await channel_accounts.list_all(connection, tenant_id),
        agents=agents,
        tags=visibility.tags(await reviews.known_tags(connection, tenant_id)),
        sorts=SORTS,
        orders=ORDERS,
    )


async def labels(connection: Connection, tenant_id: UUID) -> dict[str, str]:
    """Read what people call each flow and skill."""
    flows, skills = await conversations.flows_and_skills(connection, tenant_id)
    return dict([*flows, *skills])


def label_of(intent: str) -> str:
    """Write an intent that nobody gave a label as words: ``talk_to_human`` as "Talk to human"."""
    words = intent.replace("_", " ").replace(".", " ")
    return f"{words[:1].upper()}{words[1:]}"
