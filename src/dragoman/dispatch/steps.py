"""How the core asks the outside world: one effect out, one result of the right type in."""

from __future__ import annotations

from collections.abc import Generator
from typing import overload

from dragoman.dispatch.effects import (
    AnswerChecked,
    AnswerRefused,
    CheckAnswer,
    CheckCode,
    Classified,
    Classify,
    CodeChecked,
    CodeRefused,
    CodeSent,
    CodeVoided,
    Commit,
    Committed,
    Effect,
    InvokeSkill,
    Pause,
    Result,
    Resumed,
    SendCode,
    SkillRaised,
    SkillReturned,
    VoidCode,
)

_ANSWERS: dict[type[Effect], tuple[type[Result], ...]] = {
    Commit: (Committed,),
    Classify: (Classified,),
    InvokeSkill: (SkillReturned, SkillRaised),
    Pause: (Resumed,),
    SendCode: (CodeSent, CodeRefused),
    CheckCode: (CodeChecked, CodeRefused),
    VoidCode: (CodeVoided,),
    CheckAnswer: (AnswerChecked, AnswerRefused),
}


@overload
def ask(effect: Commit) -> Generator[Effect, Result, Committed]: ...
@overload
def ask(effect: Classify) -> Generator[Effect, Result, Classified]: ...
@overload
def ask(effect: InvokeSkill) -> Generator[Effect, Result, SkillReturned | SkillRaised]: ...
@overload
def ask(effect: Pause) -> Generator[Effect, Result, Resumed]: ...
@overload
def ask(effect: SendCode) -> Generator[Effect, Result, CodeSent | CodeRefused]: ...
@overload
def ask(effect: CheckCode) -> Generator[Effect, Result, CodeChecked | CodeRefused]: ...
@overload
def ask(effect: VoidCode) -> Generator[Effect, Result, CodeVoided]: ...
@overload
def ask(effect: CheckAnswer) -> Generator[Effect, Result, AnswerChecked | AnswerRefused]: ...
def ask(effect: Effect) -> Generator[Effect, Result, Result]:
    """Yield *effect* and return its result. Raises TypeError when a driver sends back anything else."""
    result = yield effect
    answers = _ANSWERS[type(effect)]
    if not isinstance(result, answers):
        expected = " or ".join(answer.__name__ for answer in answers)
        raise TypeError(f"a driver answers {type(effect).__name__} with {expected}, not {type(result).__name__}")
    return result
