"""A classifier that asks a language model: any server that takes OpenAI's chat completions with a JSON schema.

One deadline holds for all of it, further attempts included. Whatever the server does, the result is a value; it can
neither hold a dispatch beyond the deadline, nor fill the memory, nor name an intent that there is not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from dragoman.classify import Clock
from dragoman.classify.model_answer import MAX_BYTES, ModelAnswer, read_model_answer
from dragoman.classify.model_circuits import ModelCircuits
from dragoman.classify.model_errors import (
    ModelError,
    ModelKeyError,
    ModelStatusError,
    ModelTimedOutError,
    ModelTooDearError,
    ModelUnreachableError,
    PromptTooLongError,
)
from dragoman.classify.prompt import MAX_BYTES as MAX_PROMPT_BYTES
from dragoman.classify.prompt import SPARE_TOKENS, Prompt
from dragoman.dispatch.effects import Classified, ClassifierFailure, Classify
from dragoman.domain.http_reply import HttpReply, NoReply
from dragoman.domain.plurals import counted
from dragoman.domain.policies import ClassifierChoice

NAME = "model"

MOST_ATTEMPTS = 3
PAUSES = (0.2, 0.5)
"""Seconds before the second and the third attempt, where the server does not say how long to wait."""

_BY_THE_TEXT = frozenset({400, 413, 422})
"""Statuses that may be about this one text, such as a content filter's: they say nothing of the next."""

_KNOWN_STATUSES = frozenset(HTTPStatus)

_MILLION = 1_000_000


class ModelTransport(Protocol):
    """Posts to addresses that a tenant may name, by the rules for them."""

    async def post(
        self,
        address: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        allow_private: bool,
        seconds: float,
        most_bytes: int,
    ) -> HttpReply | NoReply:
        """Post a JSON document. Redirects are not followed. Never raises for what the other side does."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """Holds what a tenant's requests to a language model go by.

    ``most_cost_micros`` is what one run may cost. ``key_fault`` says why there is a key and it cannot be used.
    """

    tenant_id: UUID
    choice: ClassifierChoice
    most_cost_micros: int
    api_key: str | None = field(default=None, repr=False)
    key_fault: str = ""


@dataclass(slots=True)
class _Spent:
    """What the attempts of one run have come to so far."""

    attempts: int = 0
    cost_micros: int = 0


class LanguageModel:
    """Asks one tenant's model about texts. Its requests share a circuit breaker with all that go by the same access."""

    def __init__(
        self,
        access: ModelAccess,
        prompt: Prompt,
        transport: ModelTransport,
        circuits: ModelCircuits,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._access, self._prompt = access, prompt
        self._transport, self._circuits, self._sleep = transport, circuits, sleep
        self._address = f"{access.choice.base_url}/chat/completions"
        self._host = urlsplit(access.choice.base_url).hostname or "the server"

    @property
    def version(self) -> str:
        """Give the model's name, and twelve characters that stand for the prompt with the registry in it."""
        return f"{self._access.choice.model} {self._prompt.version}"

    async def ask(self, wanted: Classify, clock: Clock) -> Classified | ClassifierFailure:
        """Ask about one text. Only a cancellation of the caller passes through."""
        started, spent = time.perf_counter(), _Spent()
        failed: ModelError
        try:
            body = self._request(wanted)
            self._circuits.begin(self._access, clock(), self._host)
            answer = await self._within_deadline(body, spent)
            self._circuits.answered(self._access)
            if answer.error is None:
                return Classified(
                    at=clock(),
                    classifier=NAME,
                    classifier_version=self.version,
                    candidates=answer.candidates,
                    duration_ms=_milliseconds_since(started),
                    cost_micros=spent.cost_micros,
                )
            failed = answer.error
        except ModelError as error:
            failed = error
        except Exception as error:  # a defect in what we use must end this run, not the worker; it may quote the text
            failed = ModelError("the request failed within this program", error_class=type(error).__name__)
        if failed.counts_as_down:
            self._circuits.failed(self._access, clock(), str(failed))
        return ClassifierFailure(
            classifier=NAME,
            classifier_version=self.version,
            error_class=failed.error_class,
            message=str(failed),
            duration_ms=_milliseconds_since(started),
            attempts=spent.attempts,
            cost_micros=spent.cost_micros,
        )

    def _request(self, wanted: Classify) -> bytes:
        """Write the request's body. Raises ModelError where it must not be sent."""
        if self._access.key_fault:
            raise ModelKeyError(self._access.key_fault)
        if self._prompt.size > MAX_PROMPT_BYTES:
            raise PromptTooLongError(
                f"the intents take {self._prompt.size:,} bytes of the prompt, and {MAX_PROMPT_BYTES:,} are the most; "
                "shorten descriptions, or set classifier.phrases to fewer"
            )
        body = self._prompt.request(wanted.text, wanted.locale)
        most = self._most_cost_micros(body)
        if most > self._access.most_cost_micros:
            raise ModelTooDearError(
                f"one request may cost up to {most:,} micro-units, and budget.classifier_cost_micros allows "
                f"{self._access.most_cost_micros:,}"
            )
        return body

    def _most_cost_micros(self, body: bytes) -> int:
        """What one request can cost at the most: no token is shorter than a byte."""
        return self._price(len(body) + SPARE_TOKENS, self._access.choice.most_answer_tokens)

    def _price(self, prompt_tokens: int, completion_tokens: int) -> int:
        """In micro-units, rounded up."""
        choice = self._access.choice
        return -(
            -(prompt_tokens * choice.input_micros_per_million + completion_tokens * choice.output_micros_per_million)
            // _MILLION
        )

    async def _within_deadline(self, body: bytes, spent: _Spent) -> ModelAnswer:
        seconds = self._access.choice.deadline_s
        try:
            async with asyncio.timeout(seconds) as limit:
                reply = await self._reply(body, spent, limit)
        except TimeoutError:
            within = counted(float(seconds), "second", "seconds")
            raise ModelTimedOutError(f"{self._host} gave no whole answer within {within}") from None
        answer = read_model_answer(reply.body, self._prompt.intents)
        usage = answer.usage
        # Who does not say what was used is taken to have used all that there was to use.
        spent.cost_micros += (
            self._most_cost_micros(body) if usage is None else self._price(usage.prompt_tokens, usage.completion_tokens)
        )
        if answer.error is not None and answer.error.counts_as_down:
            raise answer.error
        return answer

    async def _reply(self, body: bytes, spent: _Spent, limit: asyncio.Timeout) -> HttpReply:
        """The first reply that is a success; tries again where that makes sense and there is time for it."""
        choice, key = self._access.choice, self._access.api_key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        while True:
            spent.attempts += 1
            reply = await self._transport.post(
                self._address,
                body,
                headers,
                allow_private=choice.allow_private,
                seconds=choice.deadline_s,
                most_bytes=MAX_BYTES,
            )
            if isinstance(reply, HttpReply) and 200 <= reply.status < 300:
                return reply
            failed, pause = self._failure(reply, spent.attempts)
            left = (limit.when() or 0.0) - asyncio.get_running_loop().time()
            if pause is None or spent.attempts >= MOST_ATTEMPTS or pause >= left:
                raise failed
            await self._sleep(pause)

    def _failure(self, reply: HttpReply | NoReply, attempt: int) -> tuple[ModelError, float | None]:
        """What to say of an attempt, and how long to wait before the next, None where none makes sense."""
        pause = PAUSES[min(attempt, len(PAUSES)) - 1]
        if isinstance(reply, NoReply):
            failed: ModelError = ModelUnreachableError(reply.message, error_class=reply.error_class)
            return failed, pause if reply.may_retry else None
        status = reply.status
        name = f"{self._host} answered HTTP {status}{_phrase(status)}"
        failed = ModelStatusError(name, is_down=status not in _BY_THE_TEXT)
        if status != HTTPStatus.TOO_MANY_REQUESTS:
            return failed, None
        asked = reply.headers.get("retry-after", "").strip()
        if asked.isascii() and asked.isdecimal() and len(asked) < 9:
            waits = f"{name}; it asks to wait {counted(int(asked), 'second', 'seconds')}"
            return ModelStatusError(waits, is_down=True), float(asked)
        return failed, pause


def _phrase(status: int) -> str:
    """What the status is called, by us: the server's own words may be anything."""
    return f" ({HTTPStatus(status).phrase})" if status in _KNOWN_STATUSES else ""


def _milliseconds_since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)
