"""Reads what a chat completion answered. Nothing in it is trusted: not its size, depth, numbers, names or order."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from dragoman.bounded import reads_outside_text
from dragoman.classify import TOP
from dragoman.classify.model_errors import (
    ModelAnswerCutError,
    ModelAnswerError,
    ModelError,
    ModelProtocolError,
    ModelRefusedError,
)
from dragoman.domain.events import Candidate

MAX_BYTES = 256 * 1024
"""An answer has some hundred bytes; some servers send what the model thought beside it."""

MOST_TOKENS = 10_000_000
"""No request uses more: a number beyond it is nonsense, and counts as none."""

MOST_GUESSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """How many tokens a request took, as the server says."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """An answer that was read: the candidates, best first, or what is wrong with it; in either case what it took."""

    usage: TokenUsage | None
    candidates: tuple[Candidate, ...] = ()
    error: ModelError | None = None


@reads_outside_text
def read_model_answer(body: bytes, intents: Collection[str]) -> ModelAnswer:
    """Read a chat completion whose text lists some of *intents*. Never raises, whatever is in *body*."""
    usage: TokenUsage | None = None
    try:
        document = _json(body, ModelProtocolError("the answer is no JSON"))
        if not isinstance(document, dict):
            raise ModelProtocolError("the answer is no JSON object")
        usage = _usage(document.get("usage"))
        return ModelAnswer(usage=usage, candidates=_candidates(_text(document), frozenset(intents)))
    except ModelError as error:
        return ModelAnswer(usage=usage, error=error)


def _json(text: str | bytes, wrong: ModelError) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        # The decoder quotes what it read.
        raise wrong from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number in JSON")


def _usage(given: Any) -> TokenUsage | None:
    if not isinstance(given, dict):
        return None
    prompt, completion = _count(given.get("prompt_tokens")), _count(given.get("completion_tokens", 0))
    if prompt is None or completion is None:
        return None
    return TokenUsage(prompt_tokens=prompt, completion_tokens=completion)


def _count(value: Any) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS
    return value if is_count else None


def _text(document: dict[str, Any]) -> str:
    """What the model wrote, whole."""
    choices = document.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise ModelProtocolError("the answer has no message; is this the address of a chat completion?")
    finished = choice.get("finish_reason")
    if finished == "content_filter" or message.get("refusal"):
        raise ModelRefusedError("the model, or a filter of its server, refused to answer")
    if finished == "length":
        raise ModelAnswerCutError("the answer was cut at the most tokens that it may have")
    if finished not in ("stop", None):
        raise ModelAnswerError("the model ended its answer in another way than by writing it to its end")
    content = message.get("content")
    if not isinstance(content, str) or not content.strip():
        raise ModelAnswerError("the model wrote nothing")
    return content


def _candidates(text: str, intents: frozenset[str]) -> tuple[Candidate, ...]:
    document = _json(text, ModelAnswerError("what the model wrote is no JSON"))
    guesses = document.get("intents") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(guesses, list):
        raise ModelAnswerError("what the model wrote does not have the form that was asked for")
    if not 0 < len(guesses) <= MOST_GUESSES:
        raise ModelAnswerError(f"the model named no intent, or more than {MOST_GUESSES}")
    found: dict[str, float] = {}
    for guess in guesses:
        intent, confidence = _guess(guess)
        if intent not in intents:
            raise ModelAnswerError("the model named an intent that is not on the list")
        if intent in found:
            raise ModelAnswerError("the model named an intent twice")
        found[intent] = confidence
    ranked = sorted(found.items(), key=lambda pair: -pair[1])
    return tuple(Candidate(intent=intent, confidence=round(sure, 4)) for intent, sure in ranked[:TOP])


def _guess(guess: Any) -> tuple[str, float]:
    if not isinstance(guess, dict) or guess.keys() != {"intent", "confidence"}:
        raise ModelAnswerError("what the model wrote does not have the form that was asked for")
    intent, confidence = guess["intent"], guess["confidence"]
    if not isinstance(intent, str) or not isinstance(confidence, int | float) or isinstance(confidence, bool):
        raise ModelAnswerError("what the model wrote does not have the form that was asked for")
    if not 0 <= confidence <= 1:
        raise ModelAnswerError("the model gave a confidence that is not from 0 to 1")
    return intent, float(confidence)
