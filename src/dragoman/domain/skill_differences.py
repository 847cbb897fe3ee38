"""Says in words what changed between two versions of a skill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dragoman.domain.nouns import HttpTarget, Level, Parameter, Phrase, SkillSpec
from dragoman.domain.plain_text import cut
from dragoman.translations import deferred, deferred_n

LEVEL_NAMES: Mapping[Level, str] = {
    Level.UNVERIFIED: deferred("Unverified"),
    Level.PHONE_MATCHED: deferred("Phone Matched"),
    Level.CONTACT_CONFIRMED: deferred("Contact Confirmed"),
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
        *_keywords(before.keywords, after.keywords),
        *_target(before.http, after.http),
    ]


def _texts(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    for name, old, new in (
        (deferred("Label"), before.label, after.label),
        (deferred("Description"), before.description, after.description),
        (deferred("Owner"), before.owner, after.owner),
        (deferred("Module"), before.module, after.module),
    ):
        if old != new:
            yield _changed(name, old, new)


def _limits(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    for name, old, new in (
        (deferred("Verification level"), LEVEL_NAMES[before.minimum_level], LEVEL_NAMES[after.minimum_level]),
        (deferred("Time-out"), _seconds(before.timeout_seconds), _seconds(after.timeout_seconds)),
        (deferred("Attempts"), str(before.max_attempts), str(after.max_attempts)),
        (deferred("Cost of a call"), f"{before.cost_micros / 1e6:.6g}", f"{after.cost_micros / 1e6:.6g}"),
    ):
        if old != new:
            yield _changed(name, old, new)


def _seconds(value: float) -> str:
    return deferred_n("%(count)s second", "%(count)s seconds", value)


def _changed(what: str, old: str, new: str) -> str:
    return deferred("%(what)s was %(old)s, is %(new)s.", what=what, old=_quoted(old), new=_quoted(new))


def _quoted(text: str) -> str:
    # What is cut is somebody's text; names of ours are short.
    value = text if len(text) <= _LONGEST_VALUE else cut(text, _LONGEST_VALUE, mark="…")
    return deferred("“%(value)s”", value=value) if text else deferred("empty")


def _parameters(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    old, new = ({p.name: p for p in spec.parameters} for spec in (before, after))
    for name in (name for name in new if name not in old):
        kind = new[name].kind.value
        yield (
            deferred("Parameter %(name)s is new: %(kind)s, required.", name=name, kind=kind)
            if new[name].required
            else deferred("Parameter %(name)s is new: %(kind)s, optional.", name=name, kind=kind)
        )
    for name in (name for name in old if name not in new):
        yield deferred("Parameter %(name)s is gone.", name=name)
    for name in (name for name in new if name in old):
        yield from _parameter(old[name], new[name])
    if [n for n in old if n in new] != [n for n in new if n in old]:
        yield deferred("Parameters are asked for in another order: %(names)s.", names=", ".join(new))


def _parameter(old: Parameter, new: Parameter) -> Iterator[str]:
    name = new.name
    if old.kind is not new.kind:
        yield deferred(
            "Parameter %(name)s was of kind %(old)s, is %(new)s.", name=name, old=old.kind.value, new=new.kind.value
        )
    if old.required is not new.required:
        yield (
            deferred("Parameter %(name)s is required now.", name=name)
            if new.required
            else deferred("Parameter %(name)s is optional now.", name=name)
        )
    if old.pattern != new.pattern:
        yield _changed(deferred("The pattern of parameter %(name)s", name=name), old.pattern or "", new.pattern or "")
    if old.secret is not new.secret:
        yield (
            deferred("Parameter %(name)s is kept off the record now.", name=name)
            if new.secret
            else deferred("Parameter %(name)s is on the record now.", name=name)
        )
    yield from _choices(name, old.choices, new.choices)
    if asked := _differing(old.prompts, new.prompts):
        yield deferred("Parameter %(name)s is asked for in other words (%(languages)s).", name=name, languages=asked)
    if titled := _differing(old.titles, new.titles):
        yield deferred("Parameter %(name)s has other titles for %(choices)s.", name=name, choices=titled)


def _differing(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    return ", ".join(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


def _phrases(before: SkillSpec, after: SkillSpec) -> Iterator[str]:
    if added := [p for p in after.phrases if p not in before.phrases]:
        yield deferred_n(
            "%(count)s training phrase added: %(phrases)s.",
            "%(count)s training phrases added: %(phrases)s.",
            len(added),
            phrases=_shown(added),
        )
    if removed := [p for p in before.phrases if p not in after.phrases]:
        yield deferred_n(
            "%(count)s training phrase removed: %(phrases)s.",
            "%(count)s training phrases removed: %(phrases)s.",
            len(removed),
            phrases=_shown(removed),
        )


def _shown(phrases: list[Phrase]) -> str:
    first = ", ".join(f"{_quoted(phrase.text)} ({phrase.locale})" for phrase in phrases[:_MOST_PHRASES])
    more = len(phrases) - _MOST_PHRASES
    return deferred("%(first)s and %(more)s more", first=first, more=more) if more > 0 else first


def _keywords(old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    added, removed = _newer(old, new), _newer(new, old)
    if added:
        yield deferred_n("Keyword added: %(items)s.", "Keywords added: %(items)s.", len(added), items=_all(added))
    if removed:
        yield deferred_n(
            "Keyword removed: %(items)s.", "Keywords removed: %(items)s.", len(removed), items=_all(removed)
        )


def _choices(name: str, old: tuple[str, ...], new: tuple[str, ...]) -> Iterator[str]:
    added, removed = _newer(old, new), _newer(new, old)
    if added:
        yield deferred_n(
            "Choice of %(name)s added: %(items)s.",
            "Choices of %(name)s added: %(items)s.",
            len(added),
            name=name,
            items=_all(added),
        )
    if removed:
        yield deferred_n(
            "Choice of %(name)s removed: %(items)s.",
            "Choices of %(name)s removed: %(items)s.",
            len(removed),
            name=name,
            items=_all(removed),
        )


def _newer(old: tuple[str, ...], new: tuple[str, ...]) -> list[str]:
    return [each for each in new if each not in old]


def _all(items: list[str]) -> str:
    return ", ".join(map(_quoted, items))


def _target(old: HttpTarget | None, new: HttpTarget | None) -> Iterator[str]:
    if old is None and new is None:
        return
    if old is None or new is None:
        yield (
            deferred("It is called over HTTP now.")
            if old is None
            else deferred("An installed package provides it now.")
        )
        return
    if old.url != new.url:
        yield _changed("URL", old.url, new.url)
    if old.allow_private is not new.allow_private:
        yield (
            deferred("It may be called at private addresses now.")
            if new.allow_private
            else deferred("It may not be called at private addresses now.")
        )
    if old.answer != new.answer:
        yield deferred("The schema of its answer is another one.")
