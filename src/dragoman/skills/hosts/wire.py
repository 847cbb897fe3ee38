"""A worker and its skill hosts speak in length-prefixed JSON on a socket, and share three numbers in memory.

========================  ==================================================================
worker to host            ``{"call": 7, "skill": …, …}`` or ``{"cancel": 7}``
host to worker            ``{"skills": […]}`` or ``{"unusable": "why"}`` once, then
                          ``{"answer": 7, "returned"|"raised": {…}, "spent": null|"why"}``
========================  ==================================================================

Reading is strict, because a skill can write into its host's descriptors: whatever does not fit raises
:class:`BrokenFrameError`.
"""

from __future__ import annotations

import asyncio
import json
import mmap
import struct
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import ValidationError

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.domain.answer import AnswerPart
from dragoman.domain.content import Link, Option, Options, Request, Text, to_json
from dragoman.domain.nouns import BusinessPartner
from dragoman.skills.answer_form import ReplyForm, form_of

T = TypeVar("T")

FRAME_LIMIT = 16 * 1024 * 1024
"""Bytes: an answer of the greatest size that is allowed, in escapes throughout, with room to spare."""

GREETING_LIMIT = 64 * 1024 * 1024
"""Bytes: a host's first frame, which has all specs."""

_LENGTH = struct.Struct("!I")


class BrokenFrameError(Exception):
    """The other side sent something that is no frame."""


def frame(message: Mapping[str, Any]) -> bytes:
    """Write *message* with its length before it."""
    body = json.dumps(message, separators=(",", ":"), allow_nan=False).encode()
    return _LENGTH.pack(len(body)) + body


async def read_frame(reader: asyncio.StreamReader, limit: int = FRAME_LIMIT) -> dict[str, Any]:
    """Read the next frame. Raises BrokenFrameError, and EOFError (asyncio.IncompleteReadError is one) at the end."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise BrokenFrameError(f"a frame claims to have {length} bytes")
    body = await reader.readexactly(length)
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BrokenFrameError("a frame is not JSON") from error
    if not isinstance(message, dict):
        raise BrokenFrameError("a frame is no JSON object")
    return message


def call_to_json(number: int, call: InvokeSkill) -> dict[str, Any]:
    """The frame that asks for *call*."""
    partner = call.business_partner
    return {
        "call": number,
        "skill": call.skill,
        "version": call.skill_version,
        "parameters": dict(call.parameters),
        "attempt": call.attempt,
        "timeout": call.timeout_seconds,
        "key": call.idempotency_key,
        "contact": str(call.contact_id),
        "locale": call.locale,
        "message": call.message_id,
        "partner": partner and [str(partner.business_partner_id), partner.number, partner.name],
    }


def call_from_json(message: Mapping[str, Any]) -> tuple[int, InvokeSkill]:
    """What :func:`call_to_json` wrote."""
    partner = message["partner"]
    return message["call"], InvokeSkill(
        skill=message["skill"],
        skill_version=message["version"],
        parameters=message["parameters"],
        attempt=message["attempt"],
        timeout_seconds=message["timeout"],
        idempotency_key=message["key"],
        contact_id=UUID(message["contact"]),
        locale=message["locale"],
        message_id=message["message"],
        business_partner=partner
        and BusinessPartner(business_partner_id=UUID(partner[0]), number=partner[1], name=partner[2]),
    )


def answer_to_json(number: int, result: SkillReturned | SkillRaised, spent: str | None) -> dict[str, Any]:
    """The frame that answers call *number*; *spent* says why the host should be replaced, if it should."""
    said: dict[str, Any]
    if isinstance(result, SkillReturned):
        said = {
            "returned": {
                "duration_ms": result.duration_ms,
                "replies": [_reply_to_json(reply) for reply in result.replies],
                "data": dict(result.data),
                "resolve": result.resolve,
                "cost_micros": result.cost_micros,
            }
        }
    else:
        said = {
            "raised": {
                "duration_ms": result.duration_ms,
                "error_class": result.error_class,
                "message": result.message,
                "retryable": result.retryable,
            }
        }
    return {"answer": number, **said, "spent": spent}


def answer_from_json(message: Mapping[str, Any], at: datetime) -> tuple[int, SkillReturned | SkillRaised, str | None]:
    """What :func:`answer_to_json` wrote, at the worker's own time. Raises BrokenFrameError."""
    try:
        number = _exactly(int, message["answer"])
        spent = None if message["spent"] is None else _exactly(str, message["spent"])
        if "returned" in message:
            said = message["returned"]
            return number, _returned(said, at), spent
        said = message["raised"]
        raised = SkillRaised(
            at=at,
            duration_ms=_number(said["duration_ms"]),
            error_class=_exactly(str, said["error_class"]),
            message=_exactly(str, said["message"]),
            retryable=_exactly(bool, said["retryable"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise BrokenFrameError(f"a frame is no answer ({error!r})") from error
    return number, raised, spent


def _returned(said: Mapping[str, Any], at: datetime) -> SkillReturned:
    return SkillReturned(
        at=at,
        duration_ms=_number(said["duration_ms"]),
        replies=tuple(_reply(reply) for reply in said["replies"]),
        data=_exactly(dict, said["data"]),
        resolve=_exactly(bool, said["resolve"]),
        cost_micros=_exactly(int, said["cost_micros"]),
    )


def _reply_to_json(reply: AnswerPart) -> dict[str, Any]:
    if isinstance(reply, Text | Options | Link | Request):
        return to_json(reply)
    return {"kind": "answer", "form": form_of(reply)}


def _reply(value: Mapping[str, Any]) -> AnswerPart:
    if value["kind"] == "answer":
        try:
            return ReplyForm.model_validate(value["form"]).part()
        except ValidationError as error:
            raise TypeError(f"a reply with {error.error_count()} faults") from None
    body = _exactly(str, value["body"])
    if value["kind"] == Text.kind:
        return Text(body)
    if value["kind"] == Link.kind:
        return Link(body=body, title=_exactly(str, value["title"]), url=_exactly(str, value["url"]))
    if value["kind"] == Request.kind:
        return Request(body=body, wants=_exactly(str, value["wants"]))
    if value["kind"] != Options.kind:
        raise TypeError(f"a reply of kind {value['kind']!r}")
    options = (Option(id=_exactly(str, o["id"]), title=_exactly(str, o["title"])) for o in value["options"])
    return Options(body=body, options=tuple(options))


def _exactly(kind: Callable[..., T], value: object) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.50} where {kind!r} belongs")
    return value  # type: ignore[return-value]


def _number(value: object) -> float:
    if type(value) not in {int, float}:
        raise TypeError(f"{value!r:.50} where a number belongs")
    return float(value)  # type: ignore[arg-type]


class Board:
    """Three numbers in memory that a host and its worker share: they can be read when the host says nothing more.

    ``beat`` is counted up by the host's event loop while calls run. ``begun`` is the greatest number of a call
    that was begun: what comes after it has had no effect. ``running`` is the call whose code runs this very
    moment, or 0: when the host dies, it names the culprit.
    """

    SIZE = 24

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, self.SIZE)
        self._cells = memoryview(self._map).cast("Q")

    @property
    def beat(self) -> int:
        """Counted up while the loop turns."""
        return self._cells[0]

    @beat.setter
    def beat(self, value: int) -> None:
        self._cells[0] = value

    @property
    def begun(self) -> int:
        """The greatest number of a call that was begun."""
        return self._cells[1]

    @begun.setter
    def begun(self, value: int) -> None:
        self._cells[1] = value

    @property
    def running(self) -> int:
        """The call whose code runs now, or 0."""
        return self._cells[2]

    @running.setter
    def running(self, value: int) -> None:
        self._cells[2] = value

    def detach(self) -> None:
        """Keep the numbers to oneself from now on: for a copy of the host that a skill has forked."""
        self._cells = memoryview(bytearray(self._cells.tobytes())).cast("Q")

    def close(self) -> None:
        """Give the memory back; the numbers stay readable."""
        mapped = self._cells
        self.detach()
        mapped.release()
        self._map.close()
