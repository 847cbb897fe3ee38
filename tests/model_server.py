"""What a language model's server answers in tests, over :mod:`tests.skill_server`."""

from __future__ import annotations

import json
from typing import Any

from tests.skill_server import Behaviour, answering, http

KEY = "sk-key-of-the-test-0815"
PROMPT_TOKENS = 400
ANSWER_TOKENS = 20


def completion(content: object, *, finish: str = "stop", **fields: Any) -> dict[str, Any]:
    """A chat completion; *content* that is no text is written as JSON."""
    written = content if isinstance(content, str) else json.dumps(content)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "some-model",
        "choices": [
            {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": written}},
        ],
        "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS, "total_tokens": 420},
        **fields,
    }


def guesses(**sure: float) -> dict[str, Any]:
    """What the model writes; underscores in *sure* stand for dots in the names of intents."""
    named = {name if name == "out_of_scope" else name.replace("_", ".", 1): value for name, value in sure.items()}
    return {"intents": [{"intent": name, "confidence": value} for name, value in named.items()]}


def wanting(**sure: float) -> Behaviour:
    """A right answer."""
    return answering(completion(guesses(**sure)))


def too_many(retry_after: str | None = None) -> Behaviour:
    """HTTP 429, in the way of such servers."""
    body = json.dumps({"error": {"message": "Rate limit reached", "type": "tokens"}}).encode()
    return http(body, status=429, headers={} if retry_after is None else {"Retry-After": retry_after})
