"""What the filters of the Conversation Logs offer to choose from, as it is in this tenant."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from dragoman.services.visibility import EVERYTHING, Visibility
from dragoman.store import reviews
from dragoman.store.channels import channel_accounts
from dragoman.store.channels.channel_accounts import ChannelAccount
from dragoman.store.conversation_list import conversations
from dragoman.store.database import Connection

SORTS = {
    "": "Newest activity",
    "activity": "Oldest activity",
    "-started": "Newest start",
    "started": "Oldest start",
    "-duration": "Longest",
    "duration": "Shortest",
    "-messages": "Most messages",
    "messages": "Fewest messages",
}
"""What the list can be sorted by, as addresses and as people name it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """``skills`` as (name, label), ``accounts``, the ``agents`` that any session knows, and reviewers' ``tags``."""

    skills: list[tuple[str, str]]
    accounts: list[ChannelAccount]
    agents: list[str]
    tags: list[str]
    sorts: dict[str, str]


async def load(connection: Connection, tenant_id: UUID, visibility: Visibility = EVERYTHING) -> Choices:
    """Read them, as *visibility* may see them; each is short."""
    return Choices(
        skills=await conversations.skills_and_intents(connection, tenant_id),
        accounts=await channel_accounts.list_all(connection, tenant_id),
        agents=await conversations.agents(connection, tenant_id),
        tags=visibility.tags(await reviews.known_tags(connection, tenant_id)),
        sorts=SORTS,
    )
