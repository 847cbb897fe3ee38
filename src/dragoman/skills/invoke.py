"""Calls a Python skill on this event loop, and makes a result of whatever it does there.

What the loop itself cannot survive (a skill that blocks it, or ends the process) is what skill hosts are for: they
call :func:`attempt` in a process of their own. See :mod:`dragoman.skills.hosts.hosting`.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from dragoman.dispatch.effects import InvokeSkill, SkillRaised, SkillReturned
from dragoman.dispatch.redact import without
from dragoman.domain.answer import MOST_FILE_BYTES, AnswerMessage, AnswerPart, as_message, is_plain
from dragoman.domain.content import ContactCard, Link, Option, Options, Request, Text
from dragoman.domain.message_limits import fault
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import counted
from dragoman.skills.answer_form import ReplyForm, form_of
from dragoman.skills.call_errors import InvalidAnswerError
from dragoman.skills.http_answer import problems
from dragoman.skills.python import (
    Answer,
    OpenLink,
    PythonSkill,
    React,
    Reply,
    RetryableError,
    SendContacts,
    SendLocation,
    SendMedia,
    SendTemplate,
    SkillAnswer,
    SkillContext,
)

Clock = Callable[[], datetime]

MAX_MESSAGE = 500

MAX_ANSWER = 1024 * 1024
"""An answer's size, as characters of text and of JSON; channels and the record take far less."""

MAX_DEPTH = 32
"""How deeply an answer's data may be nested: what a skill's stack can hold, the worker's may not."""

MAX_COST = 2**53

MOST_REPLIES = 10
"""Messages of an answer that has more than words in it: each is a message that the contact gets."""

GRACE_SECONDS = 1.0
"""How long a skill that was cancelled may take to clean up before it is left to itself."""


class SkillTimedOut(TimeoutError):  # noqa: N818 - its name is what administrators read
    """The skill did not answer in time."""


async def invoke(skill: PythonSkill, call: InvokeSkill, clock: Clock) -> SkillReturned | SkillRaised:
    """Run one attempt; see :func:`attempt`."""
    result, _ = await attempt(skill, call, clock)
    return result


async def attempt(
    skill: PythonSkill, call: InvokeSkill, clock: Clock
) -> tuple[SkillReturned | SkillRaised, asyncio.Task[object] | None]:
    """Run one attempt, and say what is left of it: the task of a skill that will not stop, or None.

    Never raises for what the skill does; only a cancellation of the caller passes through.

    Time-outs, :class:`RetryableError` and connection errors (OSError, which includes them, and TimeoutError) may
    be tried again; everything else may not. Messages are cut at 500 characters and hold no secret parameter.
    """
    started = time.perf_counter()
    task = asyncio.ensure_future(_guarded(skill, call, clock))
    try:
        done, _ = await asyncio.wait({task}, timeout=call.timeout_seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if done:
        outcome = _result(task)
    else:
        await _stop(task)
        outcome = SkillTimedOut(f"no answer within {counted(call.timeout_seconds, 'second', 'seconds')}")
    left = None if task.done() else task
    elapsed = (time.perf_counter() - started) * 1000
    if isinstance(outcome, BaseException):
        return _raised(skill, call, outcome, at=clock(), duration_ms=round(elapsed, 3)), left
    replies, answer = outcome
    cost = skill.spec.cost_micros if answer.cost_micros is None else answer.cost_micros
    returned = SkillReturned(
        at=clock(),
        duration_ms=round(elapsed, 3),
        replies=replies,
        data=dict(answer.data),
        resolve=answer.resolve,
        cost_micros=cost,
    )
    return returned, left


_Words = Text | Options | Link | Request
_Good = tuple[tuple[AnswerPart, ...], SkillAnswer]


async def _guarded(skill: PythonSkill, call: InvokeSkill, clock: Clock) -> _Good | BaseException:
    """The skill's answer, checked, or whatever it raised, as a value."""
    try:
        context = SkillContext(
            contact_id=call.contact_id,
            locale=call.locale,
            idempotency_key=call.idempotency_key,
            deadline=clock() + timedelta(seconds=call.timeout_seconds),
            attempt=call.attempt,
            business_partner=call.business_partner,
            message_id=call.message_id,
        )
        parameters = skill.model.model_validate(dict(call.parameters))
        return _checked(await skill(context, parameters))
    except asyncio.CancelledError:
        raise
    # SystemExit and KeyboardInterrupt out of a task would end the event loop; others would pass through the caller.
    except BaseException as error:
        return error


def _result(task: asyncio.Task[_Good | BaseException]) -> _Good | BaseException:
    if task.cancelled():
        return asyncio.CancelledError("the skill cancelled itself")
    return task.result()


async def _stop(task: asyncio.Task[_Good | BaseException]) -> None:
    """Cancel *task*; one that will not stop is left behind, its result unread."""
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
    finally:
        task.add_done_callback(_forget)


def _forget(task: asyncio.Task[_Good | BaseException]) -> None:
    if not task.cancelled():
        task.exception()


def _checked(answer: Answer) -> _Good:
    whole = answer if isinstance(answer, SkillAnswer) else SkillAnswer(replies=(answer,))
    if isinstance(whole.replies, str | Mapping) or not whole.replies:
        raise InvalidAnswerError("the answer has no replies")
    replies = tuple(_content(reply) for reply in whole.replies)
    _check_size([as_message(reply) for reply in replies])
    if not isinstance(whole.data, Mapping):
        raise InvalidAnswerError(f"the answer's data is no mapping but {type(whole.data).__name__}")
    _check_data(dict(whole.data))
    if not isinstance(whole.resolve, bool):
        raise InvalidAnswerError("whether the matter is settled is True or False")
    cost = whole.cost_micros
    if cost is not None and not (isinstance(cost, int) and 0 <= cost <= MAX_COST):
        raise InvalidAnswerError("the answer's cost is no whole number of micro-units")
    return replies, whole


def _check_size(messages: Sequence[AnswerMessage]) -> None:
    size = sum(len(message.content.body) for message in messages if isinstance(message.content, _Words))
    if size > MAX_ANSWER:
        raise InvalidAnswerError(f"the answer has {size} characters, {MAX_ANSWER} are allowed")
    files = sum(len(message.file or b"") for message in messages)
    if files > MOST_FILE_BYTES:
        raise InvalidAnswerError(f"the answer's files have {files} bytes, {MOST_FILE_BYTES} are allowed in all")
    if len(messages) > MOST_REPLIES and any(not is_plain(message) for message in messages):
        raise InvalidAnswerError(f"the answer has {len(messages)} messages, {MOST_REPLIES} are allowed")


def _check_data(data: dict[Any, Any]) -> None:
    try:
        text = json.dumps(data, allow_nan=False)
        if len(text) > MAX_ANSWER:
            raise InvalidAnswerError(f"the answer's data has {len(text)} characters, {MAX_ANSWER} are allowed")
        if _depth(data) > MAX_DEPTH:
            raise RecursionError
        # What is recorded must stay what was answered: no keys turned into text, no tuples into lists.
        if json.loads(text) != data:
            raise InvalidAnswerError("the answer's data is not plain JSON")
    except RecursionError as error:
        raise InvalidAnswerError(f"the answer's data is nested more than {MAX_DEPTH} deep") from error
    except (TypeError, ValueError) as error:
        raise InvalidAnswerError(f"the answer's data is not plain JSON: {error}") from error


def _depth(value: object, above: int = 0) -> int:
    """How deeply *value* is nested; no deeper look is taken than is needed to refuse it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    if above > MAX_DEPTH:
        return above
    return max((_depth(item, above + 1) for item in inner), default=above)


def _content(reply: object) -> AnswerPart:
    if isinstance(reply, SendMedia | SendTemplate | SendLocation | SendContacts | React):
        return _other(reply)
    shaped = Reply(reply) if isinstance(reply, str) else reply
    if not isinstance(shaped, Reply) or not isinstance(shaped.text, str):
        raise InvalidAnswerError(f"a reply is text or a Reply, not {type(reply).__name__}")
    if not shaped.text.strip():
        raise InvalidAnswerError("a reply has no text")
    if sum(map(bool, (shaped.options, shaped.link is not None, shaped.asks_for is not None))) > 1:
        raise InvalidAnswerError("a reply has options, a link or something that it asks for, one of these")
    made = _shaped(shaped)
    if wrong := fault(made):
        raise InvalidAnswerError(wrong)
    return made if shaped.reply_to is None else _read({**form_of(made), "reply_to": shaped.reply_to})


def _other(reply: SendMedia | SendTemplate | SendLocation | SendContacts | React) -> AnswerPart:
    """What a skill sends beside words, read as strictly as what comes from elsewhere."""
    form: dict[str, Any]
    match reply:
        case SendMedia():
            form = {"media": _media(reply)}
        case SendTemplate(name=name, language=language, values=values, header=header):
            if header is not None and not isinstance(header, SendMedia):
                raise InvalidAnswerError("a template's header is a SendMedia")
            given = dict(values) if isinstance(values, Mapping) else values
            above = header and _media(header)
            form = {"template": {"name": name, "language": language, "values": given, "header_media": above}}
        case SendLocation(latitude=latitude, longitude=longitude, name=name, address=address):
            form = {"location": {"latitude": latitude, "longitude": longitude, "name": name, "address": address}}
        case SendContacts(cards=cards):
            if not isinstance(cards, Sequence) or not all(isinstance(card, ContactCard) for card in cards):
                raise InvalidAnswerError("contacts are ContactCards")
            form = {"contacts": [_card(card) for card in cards]}
        case React(emoji=emoji, message=message):
            return _read({"reaction": {"emoji": emoji, "message": message}})
    return _read({**form, "reply_to": reply.reply_to})


def _media(media: SendMedia) -> dict[str, Any]:
    if media.file is not None and not isinstance(media.file, bytes):
        raise InvalidAnswerError("a file is bytes")
    if media.file is not None and len(media.file) > MOST_FILE_BYTES:
        raise InvalidAnswerError(f"the file has {len(media.file)} bytes, {MOST_FILE_BYTES} are allowed")
    return {
        "type": media.media, "link": media.link, "id": media.media_id, "mime_type": media.mime_type,
        "filename": media.filename, "caption": media.caption,
        "base64": None if media.file is None else base64.b64encode(media.file).decode("ascii"),
    }  # fmt: skip


def _card(card: ContactCard) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(card).items()
    }


def _read(form: dict[str, Any]) -> AnswerPart:
    try:
        return ReplyForm.model_validate(form).part()
    except ValidationError as error:
        raise InvalidAnswerError(problems(error, "")) from None


def _shaped(shaped: Reply) -> _Words:
    if shaped.link is not None:
        link = shaped.link
        if not isinstance(link, OpenLink) or not isinstance(link.title, str) or not isinstance(link.url, str):
            raise InvalidAnswerError("a reply's link is an OpenLink with a title and an address, both text")
        return Link(body=shaped.text, title=link.title, url=link.url)
    if shaped.asks_for is not None:
        return Request(body=shaped.text, wants=str(shaped.asks_for))
    if not shaped.options:
        return Text(shaped.text)
    if not isinstance(shaped.options, Mapping) or not all(
        isinstance(text, str) for option in shaped.options.items() for text in option
    ):
        raise InvalidAnswerError("a reply's options are titles by id, both text")
    options = tuple(Option(id=key, title=title) for key, title in shaped.options.items())
    return Options(body=shaped.text, options=options)


def _raised(
    skill: PythonSkill, call: InvokeSkill, error: BaseException, *, at: datetime, duration_ms: float
) -> SkillRaised:
    secrets = [str(call.parameters[p.name]) for p in skill.spec.parameters if p.secret and p.name in call.parameters]
    return SkillRaised(
        at=at,
        duration_ms=duration_ms,
        error_class=type(error).__name__,
        message=cut(without(secrets, _message(error)), MAX_MESSAGE),
        retryable=isinstance(error, RetryableError | TimeoutError | OSError),
    )


def _message(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "the skill needed more memory than its process may use"
    if isinstance(error, ValidationError):
        # Pydantic's own text quotes the input, which may be a secret.
        problems: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'parameters'}: {p['msg']}" for p in problems)
    try:
        return str(error) or type(error).__name__
    except BaseException:
        return type(error).__name__
