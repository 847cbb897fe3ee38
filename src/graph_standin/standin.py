"""The stand-in itself, free of HTTP: takes messages, remembers them, and reports on them to the webhook."""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any

from graph_standin.answers import PlannedFault, accepted, digits, new_wamid
from graph_standin.config import Number, StandinConfig
from graph_standin.journal import Journal
from graph_standin.media import Files
from graph_standin.people import People, Person
from graph_standin.quota import Quota
from graph_standin.rules import AnswerRule, Rules
from graph_standin.validation import fault_in
from graph_standin.webhooks import Deliverer, envelope, seconds, status_object, status_value

USUAL = ("sent", "delivered", "read")
_FILES = ("image", "video", "audio", "document", "sticker")


class InboundError(Exception):
    """A request to play a contact's message that makes no sense; the text says why."""


@dataclass(frozen=True, slots=True)
class StandinReply:
    """How to answer a send. ``hang_up`` means not at all; a text ``answer`` goes out as it stands.

    With ``after`` it is answered only when that is done.
    """

    status: int
    answer: dict[str, Any] | str
    delay_seconds: float = 0.0
    hang_up: bool = False
    after: asyncio.Task[None] | None = None


class Standin:
    """Is one stand-in with its numbers, journal, rules, files and pending webhooks."""

    def __init__(self, config: StandinConfig) -> None:
        self.config = config
        self.journal = Journal(config.journal_path)
        self.rules = Rules()
        self.files = Files()
        self.people = People(config.user_ids)
        self.quota = Quota(config.clock, config.messages_per_second, pair_limit=config.pair_limit)
        self.deliverer = Deliverer(config)
        self._tasks: set[asyncio.Task[None]] = set()
        self._key = secrets.token_bytes(16)

    @property
    def pending(self) -> int:
        """How many messages still have statuses to come."""
        return len(self._tasks)

    def send(self, number: Number, body: Any) -> StandinReply:
        """What ``POST …/messages`` does: check, write to the journal, start the statuses.

        Answers how to answer; raises OSError if the journal cannot be written.
        """
        known = body if isinstance(body, dict) else {}
        receipt = "status" in known
        rule = None if receipt or body is not known else self.rules.match(number.phone_number_id, known)
        reply, wamid = self._decide(number, body, rule)
        self.journal.append(
            at=self.config.clock().isoformat(),
            phone_number_id=number.phone_number_id,
            kind="unreadable" if body is not known else "read" if receipt else "message",
            to=_said(known.get("to") or known.get("recipient")),
            type=None if receipt else _said(known.get("type", "text")),
            wamid=wamid,
            status=reply.status,
            request=body,
            answer=reply.answer,
            lost=reply.hang_up,
        )
        statuses = rule.statuses if rule and rule.statuses is not None else USUAL
        if wamid is not None and self.config.statuses and statuses:
            told = self._start(self._report(number, known, wamid, statuses, rule.status_error if rule else 131026))
            if rule and rule.early:
                return replace(reply, after=told)
        return reply

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _report(
        self, number: Number, body: dict[str, Any], wamid: str, statuses: tuple[str, ...], error: int
    ) -> None:
        """Send the statuses of one message, one webhook after the other, or all in one."""
        recipient = self._recipient(body)
        held: list[dict[str, Any]] = []
        for word in statuses:
            if self.config.status_delay > 0:
                await asyncio.sleep(self.config.status_delay)
            at = self.config.clock()
            held.append(status_object(body, recipient, wamid, word, at, error))
            if not self.config.statuses_together or len(held) == len(statuses):
                await self.deliverer.deliver(number, envelope(number, status_value(held, recipient), at))
                held = held if self.config.statuses_together else []

    def _recipient(self, body: dict[str, Any]) -> Person:
        to = body.get("to")
        return self.people.addressed(
            wa_id=None if to is None else digits(to), user_id=None if to is not None else str(body["recipient"])
        )

    def _decide(self, number: Number, body: Any, rule: AnswerRule | None) -> tuple[StandinReply, str | None]:
        """The reply to a call, and the id of the message if it is taken."""
        delay = rule.delay_seconds if rule else 0.0
        hang_up = bool(rule and rule.drop_connection)
        fault = PlannedFault(100, "The request body is not a JSON object.")
        if rule and rule.drop_connection == "before":
            return StandinReply(0, {}, delay, hang_up=True), None
        if rule and rule.raw is not None:
            return StandinReply(rule.http_status or 500, rule.raw, delay), None
        if rule and (rule.error is not None or rule.http_status is not None):
            code = 131000 if rule.error is None else rule.error
            fault = PlannedFault(code, rule.message or "as the stand-in was told", rule.http_status)
        elif isinstance(body, dict):
            found = fault_in(body, number.display_phone_number, self.config.templates)
            if found is None and "status" in body:
                return StandinReply(200, {"success": True}, delay), None
            found = found or self.quota.claim(number.phone_number_id, str(body.get("to") or body.get("recipient")))
            if found is None:
                wamid = new_wamid()
                return StandinReply(200, accepted(body, wamid), delay, hang_up), wamid
            fault = found
        return StandinReply(fault.status, fault.body, delay, hang_up), None

    def media_url(self, media_id: str) -> str:
        """Give the address of a file, good for some minutes."""
        expires = int(self.config.clock().timestamp() + self.config.media_url_seconds)
        base = self.config.public_url.rstrip("/")
        return f"{base}/media-download/{media_id}?oe={expires}&oh={self._media_mark(media_id, str(expires))}"

    def good_media_url(self, media_id: str, expires: str, mark: str) -> bool:
        """Whether the address is one of ours and still good."""
        if not hmac.compare_digest(mark.encode(), self._media_mark(media_id, expires).encode()):
            return False
        return float(expires) >= self.config.clock().timestamp()

    def _media_mark(self, media_id: str, expires: str) -> str:
        return hmac.new(self._key, f"{media_id}:{expires}".encode(), "sha256").hexdigest()[:32]

    async def drain(self) -> None:
        """Wait until every status webhook has been delivered or given up, also those started meanwhile."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Drop what is pending and let go of files and connections."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.deliverer.close()
        self.journal.close()

    async def play(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Be a contact: build a webhook, sign it, post it once.

        *payload* is ``{phone_number_id, from, user_id, name, username, message}``, or ``{phone_number_id, field,
        value}``, or a whole webhook body. A number without ``user_id`` has the one that goes with it, as everybody
        has since April 2026; with a ``user_id`` of null it has none. Answers ``{"wamid", "status", "text"}``: the
        webhook's HTTP status (None if there was no answer) and what it said. With ``to`` in place of ``from`` it is the
        business that writes to that number, in the app of its phone. Raises InboundError for anything else.
        """
        number, body, wamid = self._webhook_of(payload)
        receipt = await self.deliverer.post(number, body)
        return {"wamid": wamid, "status": receipt.status, "text": receipt.text}

    def _webhook_of(self, payload: dict[str, Any]) -> tuple[Number, dict[str, Any], str | None]:
        if "entry" in payload:
            return self._number_in(payload), payload, None
        number = self.config.number(str(payload.get("phone_number_id")))
        if number is None:
            raise InboundError("phone_number_id names no number of this stand-in")
        if isinstance(payload.get("value"), dict):
            field = str(payload.get("field", "messages"))
            return number, envelope(number, payload["value"], self.config.clock(), field), None
        if not isinstance(payload.get("message"), dict):
            raise InboundError("message, value or entry is missing")
        if digits(payload.get("to") or ""):
            echo = self._echo_value(number, payload)
            body = envelope(number, echo, self.config.clock(), "smb_message_echoes")
            return number, body, echo["message_echoes"][0]["id"]
        value = self._message_value(payload)
        return number, envelope(number, value, self.config.clock()), value["messages"][0]["id"]

    def _number_in(self, whole: dict[str, Any]) -> Number:
        """The number whose secret signs *whole*: the one that it names, else the first."""
        written = str(whole)
        named = (n for n in self.config.numbers if repr(n.phone_number_id) in written)
        return next(named, self.config.numbers[0])

    def _message_value(self, payload: dict[str, Any]) -> dict[str, Any]:
        wa_id = digits(payload.get("from") or "") or None
        user_id = _said(payload.get("user_id")) or None
        if wa_id is None and user_id is None:
            raise InboundError("from (a number) or user_id is missing")
        if wa_id is not None and "user_id" not in payload:
            user_id = self.people.user_id_of(wa_id)
        name, username = _said(payload.get("name")), _said(payload.get("username"))
        person = self.people.meet(wa_id=wa_id, user_id=user_id, name=name, username=username)
        # What this message names: a number that is known is not given away by somebody who hides it.
        contact = replace(person, wa_id=wa_id, user_id=user_id).as_contact()
        message: dict[str, Any] = {"from": wa_id} if wa_id is not None else {}
        if user_id is not None:
            message["from_user_id"] = user_id
        message |= {"id": new_wamid(), "timestamp": seconds(self.config.clock()), **payload["message"]}
        self._describe_file(message)
        return {"contacts": [contact], "messages": [message]}

    def _echo_value(self, number: Number, payload: dict[str, Any]) -> dict[str, Any]:
        """The copy of what the business wrote in the app of its phone."""
        known = self.people.addressed(wa_id=digits(payload["to"]), user_id=None)
        message = {"from": digits(number.display_phone_number), "to": known.wa_id, "to_user_id": known.user_id}
        message |= {"id": new_wamid(), "timestamp": seconds(self.config.clock()), **payload["message"]}
        self._describe_file(message)
        return {"message_echoes": [message]}

    def _describe_file(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        part = message.get(kind) if kind in _FILES else None
        stored = self.files.get(str(part.get("id"))) if isinstance(part, dict) else None
        if kind in _FILES and isinstance(part, dict) and stored:
            # Meta writes this digest in base64 here, and in hex where the file is looked up.
            digest = base64.b64encode(bytes.fromhex(stored.sha256)).decode()
            message[kind] = {"mime_type": stored.mime_type, "sha256": digest, **part}


def _said(value: Any) -> str | None:
    return value if isinstance(value, str) else None
