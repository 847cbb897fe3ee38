"""Makes what a skill or a flow answers ready to be said: plain words are; all else is checked by the driver first."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from dragoman.dispatch.draft import Draft
from dragoman.dispatch.effects import AnswerChecked, AnswerRefused, CheckAnswer, Effect, Result
from dragoman.dispatch.steps import ask
from dragoman.dispatch.turn import Inputs
from dragoman.domain.answer import AnswerMessage, AnswerPart, about, as_message, fault, is_plain


def check_answer(
    inputs: Inputs, draft: Draft, parts: Sequence[AnswerPart]
) -> Generator[Effect, Result, tuple[AnswerMessage, ...] | AnswerRefused]:
    """The messages that *parts* are, ready to be said in their order; or why none of them is to be."""
    messages = tuple(about(as_message(part), inputs.message.channel_message_id) for part in parts)
    wrong = next((wrong for message in messages if (wrong := fault(message))), None)
    if wrong is not None:
        return AnswerRefused(at=draft.now, reason=wrong)
    if all(map(is_plain, messages)):
        return messages
    result = yield from ask(CheckAnswer(messages=messages))
    draft.clock(result.at)
    return result.messages if isinstance(result, AnswerChecked) else result
