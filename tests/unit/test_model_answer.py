"""What a chat completion may answer, and everything that is refused in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dragoman.classify.model_answer import MOST_TOKENS, TokenUsage, read_model_answer
from dragoman.domain.events import Candidate

INTENTS = frozenset({"orders.status", "stores.hours", "finance.unlock", "a.a", "a.b", "a.c", "a.d", "out_of_scope"})
FINE = {"intents": [{"intent": "orders.status", "confidence": 0.8}]}
USED = {"prompt_tokens": 120, "completion_tokens": 9, "total_tokens": 129}
MARK = "MARK-4711"


def completion(content: object = None, *, usage: object = USED, **choice: Any) -> dict[str, Any]:
    written = content if isinstance(content, str) or content is None else json.dumps(content)
    message = {"role": "assistant", "content": written}
    return {"id": "x", "choices": [{"index": 0, "finish_reason": "stop", "message": message, **choice}], "usage": usage}


def read(document: object) -> Any:
    return read_model_answer(json.dumps(document).encode(), INTENTS)


def test_a_list_of_intents_is_read_best_first_whatever_its_order() -> None:
    said = {"intents": [{"intent": "stores.hours", "confidence": 0.1}, {"intent": "orders.status", "confidence": 0.85}]}
    found = read(completion(said))
    assert found.error is None
    assert found.candidates == (
        Candidate(intent="orders.status", confidence=0.85),
        Candidate(intent="stores.hours", confidence=0.1),
    )
    assert found.usage == TokenUsage(prompt_tokens=120, completion_tokens=9)


def test_only_the_five_likeliest_stand_on_the_record() -> None:
    said = {"intents": [{"intent": name, "confidence": 0.1} for name in sorted(INTENTS)]}
    assert len(read(completion(said)).candidates) == 5


@pytest.mark.parametrize("finish", ["stop", None])
def test_servers_that_do_not_say_how_they_finished_are_read(finish: str | None) -> None:
    assert read(completion(FINE, finish_reason=finish)).error is None


def guess(**fields: Any) -> dict[str, Any]:
    return {"intents": [{"intent": "orders.status", "confidence": 0.8, **fields}]}


PROTOCOL = [
    pytest.param([], id="a list"),
    pytest.param({"error": {"message": MARK}}, id="an error with status 200"),
    pytest.param({"choices": []}, id="no choice"),
    pytest.param({"choices": {"0": {}}}, id="choices by name"),
    pytest.param({"choices": [MARK]}, id="a choice that is a text"),
    pytest.param({"choices": [{"text": MARK}]}, id="an old completion"),
    pytest.param({"choices": [{"message": MARK}]}, id="a message that is a text"),
]

REFUSED = [
    pytest.param(completion(FINE, finish_reason="length"), "ModelAnswerCutError", id="truncated"),
    pytest.param(completion('{"intents": [{"int', finish_reason="length"), "ModelAnswerCutError", id="cut in JSON"),
    pytest.param(completion(FINE, finish_reason="content_filter"), "ModelRefusedError", id="filtered"),
    pytest.param(
        completion(message={"content": None, "refusal": f"I will not read {MARK}"}), "ModelRefusedError", id="refusal"
    ),
    pytest.param(completion(FINE, finish_reason="tool_calls"), "ModelAnswerError", id="a tool call"),
    pytest.param(completion(FINE, finish_reason={"why": MARK}), "ModelAnswerError", id="a strange finish"),
    pytest.param(completion(None), "ModelAnswerError", id="nothing written"),
    pytest.param(completion("  \n"), "ModelAnswerError", id="blanks"),
    pytest.param(completion(message={"content": [{"text": MARK}]}), "ModelAnswerError", id="content in parts"),
    pytest.param(completion(f"It is about {MARK}."), "ModelAnswerError", id="prose"),
    pytest.param(completion(f"```json\n{json.dumps(FINE)}\n```"), "ModelAnswerError", id="fenced"),
    pytest.param(completion("[" * 100_000), "ModelAnswerError", id="a depth bomb inside"),
    pytest.param(completion([FINE]), "ModelAnswerError", id="a list inside"),
    pytest.param(completion({"intents": {"orders.status": 0.9}}), "ModelAnswerError", id="a mapping"),
    pytest.param(completion({"intents": []}), "ModelAnswerError", id="no intent"),
    pytest.param(completion({**FINE, "note": MARK}), "ModelAnswerError", id="one field more"),
    pytest.param(completion(guess(why=MARK)), "ModelAnswerError", id="one field more inside"),
    pytest.param(completion({"intents": [MARK]}), "ModelAnswerError", id="names only"),
    pytest.param(completion({"intents": [{"intent": "orders.status"}]}), "ModelAnswerError", id="no confidence"),
    pytest.param(completion(guess(intent=MARK)), "ModelAnswerError", id="an unknown intent"),
    pytest.param(completion(guess(intent=["orders.status"])), "ModelAnswerError", id="an intent that is a list"),
    pytest.param(completion(guess(confidence=1.01)), "ModelAnswerError", id="too sure"),
    pytest.param(completion(guess(confidence=-0.1)), "ModelAnswerError", id="below nothing"),
    pytest.param(completion(guess(confidence=85)), "ModelAnswerError", id="percent"),
    pytest.param(completion(guess(confidence="0.8")), "ModelAnswerError", id="a confidence that is a text"),
    pytest.param(completion(guess(confidence=True)), "ModelAnswerError", id="a confidence that is true"),
    pytest.param(completion(guess(confidence=None)), "ModelAnswerError", id="a confidence that is null"),
    pytest.param(completion(json.dumps(guess(confidence=float("nan")))), "ModelAnswerError", id="NaN"),
    pytest.param(
        completion(json.dumps(guess()).replace("0.8", "1e999")), "ModelAnswerError", id="infinity by exponent"
    ),
    pytest.param(completion(json.dumps(guess()).replace("0.8", "9" * 5000)), "ModelAnswerError", id="a huge number"),
    pytest.param(completion({"intents": FINE["intents"] * 2}), "ModelAnswerError", id="twice the same"),
    pytest.param(completion({"intents": FINE["intents"] * 21}), "ModelAnswerError", id="too many"),
]


@pytest.mark.parametrize("document", PROTOCOL)
def test_what_is_no_chat_completion_is_the_servers_fault(document: object) -> None:
    found = read(document)
    assert (found.error.error_class, found.error.counts_as_down) == ("ModelProtocolError", True)
    assert found.candidates == ()
    assert MARK not in str(found.error)


@pytest.mark.parametrize("body", [b"", b"<html>MARK-4711", b"\xff\xfe", b"[" * 200_000, b'{"a": NaN}'])
def test_what_is_no_json_is_the_servers_fault(body: bytes) -> None:
    found = read_model_answer(body, INTENTS)
    assert found.error is not None
    assert found.error.error_class == "ModelProtocolError"
    assert MARK not in str(found.error)


@pytest.mark.parametrize(("document", "error_class"), REFUSED)
def test_a_wrong_answer_is_refused_and_what_it_took_is_known(document: object, error_class: str) -> None:
    found = read(document)
    assert (found.error.error_class, found.error.counts_as_down) == (error_class, False)
    assert found.candidates == ()
    assert found.usage == TokenUsage(prompt_tokens=120, completion_tokens=9)
    assert MARK not in str(found.error)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        "many",
        {},
        {"prompt_tokens": -1},
        {"prompt_tokens": 1.5},
        {"prompt_tokens": True},
        {"prompt_tokens": "9"},
        {"prompt_tokens": MOST_TOKENS + 1},
        {"prompt_tokens": 9, "completion_tokens": None},
    ],
)
def test_a_usage_that_makes_no_sense_is_none(usage: object) -> None:
    found = read(completion(FINE, usage=usage))
    assert (found.usage, found.error) == (None, None)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["stop", "orders.status", "length"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "content", "usage", "finish_reason", "intents", "intent", "confidence"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(_JSON, st.booleans())
def test_nothing_that_a_server_sends_raises(value: object, inside: bool) -> None:
    found = read(completion(value) if inside else value)
    assert (found.error is None) == bool(found.candidates)
    assert all(0 <= each.confidence <= 1 and each.intent in INTENTS for each in found.candidates)
