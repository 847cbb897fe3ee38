"""The agents of the demo's past: they do by the real services what the inbox would have them do.

A transaction of its own for each act, as for everybody who works in the inbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from dragoman.dispatch.routing import opens_at
from dragoman.domain.content import Content, Text
from dragoman.domain.errors import ChangeRefusedError, DragomanError
from dragoman.domain.handoff import Agent
from dragoman.domain.nouns import Policy
from dragoman.domain.plain_text import first_name
from dragoman.runtime import Runtime
from dragoman.services.handoff.end_handoff import resolve_session, return_to_bot
from dragoman.services.handoff.fill_template import fill_template
from dragoman.services.handoff.own_session import (
    assign_session,
    claim_session,
    take_over_session,
    unassign_session,
)
from dragoman.services.handoff.write_to_contact import add_note, send_answer
from dragoman.store.catalogue import skills
from dragoman.store.conversation_list import conversations
from dragoman.store.handoff import agents, drafts, inbox
from dragoman_shop.agents import TEMPLATE, Act, ShopAgent

MOST_OPEN = 200
LANGUAGES = ("en", "de")
"""Those that the templates are written in; others get the first."""

A_MOMENT = timedelta(seconds=5)
"""So long after something is due it is looked at, as the worker does it."""


@dataclass(slots=True)
class DemoAgents:
    """Holds the tenant's agents by name, and its rules for them."""

    runtime: Runtime
    tenant_id: UUID
    policy: Policy
    by_name: Mapping[str, Agent]

    @classmethod
    async def load(cls, runtime: Runtime, tenant_id: UUID) -> Self:
        """Read who they are."""
        async with runtime.database.tenant(tenant_id) as connection:
            policy = (await skills.dispatch_rules(connection, tenant_id)).policy
            team = await agents.list_all(connection, tenant_id)
        return cls(
            runtime=runtime,
            tenant_id=tenant_id,
            policy=policy,
            by_name={one.name: Agent(agent_id=one.user_id, name=one.name) for one in team},
        )

    @property
    def idle(self) -> timedelta:
        """After that long without a message a human part has ended."""
        return timedelta(seconds=self.policy.handoff.idle_seconds) + A_MOMENT

    @property
    def unattended(self) -> timedelta:
        """After that long it is put on record that nobody has come."""
        return timedelta(seconds=self.policy.handoff.unattended_seconds) + A_MOMENT

    def at_work(self, moment: datetime) -> datetime:
        """*moment*, or when the agents are back then."""
        return opens_at(self.policy.routing.hours, moment) or moment

    async def open_session(self, phone: str) -> UUID | None:
        """The conversation of this contact that is with agents."""
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            nobody = UUID(int=0)
            found = await inbox.queue(connection, self.tenant_id, nobody, "all", cursor=None, limit=MOST_OPEN)
            rows = await conversations.by_ids(connection, self.tenant_id, list(found.handoffs))
        return next((session_id for session_id, row in rows.items() if row.contact_phone == phone), None)

    async def act(self, session_id: UUID, act: Act, contact_name: str, language: str) -> bool:
        """Do one thing in a conversation; False where it cannot be done any more, as its human part has ended."""
        try:
            await self._act(session_id, act, contact_name, language)
        except ChangeRefusedError:
            async with self.runtime.database.tenant(self.tenant_id) as connection:
                human = await inbox.handoff_of(connection, self.tenant_id, session_id)
            if human is None or human.ended_at is None:
                raise
            return False
        return True

    async def _act(self, session_id: UUID, act: Act, contact_name: str, language: str) -> None:
        of = (self.runtime, self.tenant_id, session_id)
        agent = self._agent(act.agent)
        match act.deed:
            case "claim":
                await claim_session(*of, agent)
            case "take_over":
                await take_over_session(*of, agent, reason=act.words)
            case "assign":
                await assign_session(*of, self._agent(act.to), by=agent, reason=act.words)
            case "give_back":
                await unassign_session(*of, agent, reason=act.words)
            case "return_to_bot":
                await return_to_bot(*of, agent, note=act.words)
            case "resolve":
                await resolve_session(*of, agent, reason=act.words)
            case "note":
                await add_note(*of, agent, act.words, request_id=self.runtime.source.new_id())
            case "draft":
                await self._begin_draft(session_id, agent, act)
            case "answer":
                await self._answer(session_id, agent, Text(act.words))
            case "template":
                await self._answer(session_id, agent, await self._reminder(session_id, contact_name, language))

    def _agent(self, agent: ShopAgent | None) -> Agent:
        if agent is None:
            raise DragomanError("an act does not say to whom")
        return self.by_name[agent.name]

    async def _answer(self, session_id: UUID, agent: Agent, content: Content) -> None:
        request_id = self.runtime.source.new_id()
        await send_answer(self.runtime, self.tenant_id, session_id, agent, content, request_id=request_id)

    async def _reminder(self, session_id: UUID, contact_name: str, language: str) -> Content:
        """The template that asks the contact to write again, in a language that it is written in."""
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            return await fill_template(
                connection,
                self.tenant_id,
                session_id,
                name=TEMPLATE,
                language=language if language in LANGUAGES else LANGUAGES[0],
                values={"body.1": first_name(contact_name) or contact_name},
            )

    async def _begin_draft(self, session_id: UUID, agent: Agent, act: Act) -> None:
        async with self.runtime.database.tenant(self.tenant_id) as connection:
            await drafts.save(
                connection,
                self.tenant_id,
                session_id,
                agent,
                body=act.words,
                is_note=False,
                is_shared=act.shared,
                now=self.runtime.clock.now(),
            )
