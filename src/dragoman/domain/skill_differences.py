"""Says in words what changed between two versions of a skill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dragoman.domain.nouns import HttpTarget, Level, Parameter, Phrase, SkillSpec
from dragoman.domain.plain_text import cut
from dragoman.domain.plurals import counted

LEVEL_NAMES: Mapping[Level, str] = {
    Level.UNVERIFIED: "Unverified",
    Level.PHONE_MATCHED: "Phone Matched",
    Level.CONTACT_CONFIRMED: "Contact Confirmed",
}
"""What each verification level is called on pages."""

_LONGEST_VALUE = 80
_MOST_PHRASES = 3


def describe_differences(before: SkillSpec, after: SkillSpec) -> list[str]:
    """A sentence for each thing that *after* has another way than *before*; empty where only the number differs."""
    return [
        *_texts(before, after),
        *_limits(before, after),
        *_parameters(before, after),
        *_phrases(before, after),
        *_listed("Keyword", "Keywords", before.keywords, after.keywords),
        *_target(before.http, after.http),
    ]


def _texts(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    for name, old, new in (
        ("Label", before.label, after.label),
        ("Description", before.description, after.description),
        ("Owner", before.owner, after.owner),
        ("Module", before.module, after.module),
    ):
        if old != new:
            yield _changed(name, old, new)


def _limits(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    for name, old, new in (
        ("Verification level", LEVEL_NAMES[before.minimum_level], LEVEL_NAMES[after.minimum_level]),
        ("Time-out", _seconds(before.timeout_seconds), _seconds(after.timeout_seconds)),
        ("Attempts", str(before.max_attempts), str(after.max_attempts)),
        ("Cost of a call", f"{before.cost_micros / 1e6:.6g}", f"{after.cost_micros / 1e6:.6g}"),
    ):
        if old != new:
            yield _changed(name, old, new)


def _seconds(value: float) -> str:
    return counted(value, "second", "seconds")


def _changed(name: str, old: str, new: str) -> str:
    return f"{name} was {_quoted(old)}, is {_quoted(new)}."


def _quoted(text: str) -> str:
    return f"“{cut(text, _LONGEST_VALUE, mark='…')}”" if text else "empty"


def _parameters(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    old, new = ({p.name: p for p in spec.parameters} for spec in (before, after))
    for name in (name for name in new if name not in old):
        yield f"Parameter {name} is new: {_kind(new[name])}."
    for name in (name for name in old if name not in new):
        yield f"Parameter {name} is gone."
    for name in (name for name in new if name in old):
        yield from _parameter(old[name], new[name])
    if [n for n in old if n in new] != [n for n in new if n in old]:
        yield f"Parameters are asked for in another order: {', '.join(new)}."


def _kind(parameter: Parameter) -> str:
    return f"{parameter.kind.value}, {'required' if parameter.required else 'optional'}"


def _parameter(old: Parameter, new: Parameter) -> Iterator[str]:
    name = f"Parameter {new.name}"
    if old.kind is not new.kind:
        yield f"{name} was of kind {old.kind.value}, is {new.kind.value}."
    if old.required is not new.required:
        yield f"{name} is {'required' if new.required else 'optional'} now."
    if old.pattern != new.pattern:
        yield _changed(f"The pattern of parameter {new.name}", old.pattern or "", new.pattern or "")
    if old.secret is not new.secret:
        yield f"{name} is {'kept off the record' if new.secret else 'on the record'} now."
    yield from _listed(f"Choice of {new.name}", f"Choices of {new.name}", old.choices, new.choices)
    if asked := _differing(old.prompts, new.prompts):
        yield f"{name} is asked for in other words ({asked})."
    if titled := _differing(old.titles, new.titles):
        yield f"{name} has other titles for {titled}."


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    return ", ".join(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


def _phrases(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    for title, phrases in (
        ("added", [p for p in after.phrases if p not in before.phrases]),
        ("removed", [p for p in before.phrases if p not in after.phrases]),
    ):
        if phrases:
            yield f"{counted(len(phrases), 'training phrase', 'training phrases')} {title}: {_shown(phrases)}."


def _shown(phrases: list[Phrase]) -> str:
    first = ", ".join(f"{_quoted(phrase.text)} ({phrase.locale})" for phrase in phrases[:_MOST_PHRASES])
    return first + (f" and {len(phrases) - _MOST_PHRASES} more" if len(phrases) > _MOST_PHRASES else "")


def _listed(one: str, many: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    for verb, items in (("added", [x for x in new if x not in old]), ("removed", [x for x in old if x not in new])):
        if items:
            yield f"{one if len(items) == 1 else many} {verb}: {', '.join(map(_quoted, items))}."


def _target(old: HttpTarget | None, new: HttpTarget | None) -> Iterator[str]:
    if old is None and new is None:
        return
    if old is None or new is None:
        yield "It is called over HTTP now." if old is None else "An installed package provides it now."
        return
    if old.url != new.url:
        yield _changed("URL", old.url, new.url)
    if old.allow_private is not new.allow_private:
        may = "may" if new.allow_private else "may not"
        yield f"It {may} be called at private addresses now."
    if old.answer != new.answer:
        yield "The schema of its answer is another one."
