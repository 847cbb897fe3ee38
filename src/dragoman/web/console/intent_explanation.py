"""Why this skill: what decided an intent, against which threshold, and what would have come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from dragoman.dispatch.understand import OUT_OF_SCOPE
from dragoman.web.console.formatting import milliseconds, percent
from dragoman.web.console.wording import SOURCES, Facts

MOST_CANDIDATES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateBar:
    """A classifier's guess; ``width`` is its bar's, in percent, ``enough`` says that it reached the threshold."""

    intent: str
    confidence: float
    width: str
    enough: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """What a classifier thought possible, best first; ``mark`` is where the threshold stands on the bars."""

    candidates: tuple[CandidateBar, ...]
    threshold: float
    mark: str

    @classmethod
    def of(cls, classified: Facts) -> Guesses:
        """Those of a ``classifier.ran``; what is no guess in it is left out."""
        needed = _number(classified.get("threshold"))
        given = classified.get("candidates")
        found = []
        for guess in given if isinstance(given, list) else ():
            confidence = guess.get("confidence") if isinstance(guess, dict) else None
            if isinstance(confidence, int | float):
                found.append(
                    CandidateBar(
                        intent=str(guess.get("intent", "–")),
                        confidence=float(confidence),
                        width=share(float(confidence)),
                        enough=float(confidence) >= needed,
                    )
                )
        return cls(candidates=tuple(found[:MOST_CANDIDATES]), threshold=needed, mark=share(needed))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentExplanation:
    """The panel at an assigned intent, or at a message that was not understood.

    ``facts`` are (label, sentence) pairs; ``guesses`` is None where no classifier was asked.
    """

    title: str
    short: Markup
    facts: tuple[tuple[str, Markup], ...]
    guesses: Guesses | None


def assigned(intent: Facts, classified: Facts | None, failed: Facts | None = None) -> IntentExplanation:
    """Why this intent was assigned; *classified* is what the classifier had said of the same message.

    *failed* tells of the classifier in whose place that one was asked.
    """
    guesses = None if classified is None else Guesses.of(classified)
    source, detail = str(intent["source"]), intent.get("detail")
    by = Markup("{}").format(SOURCES.get(source, source))
    facts: list[tuple[str, Markup]] = []
    short = by
    if source == "classifier":
        facts += [("Decided by", _classifier(classified)), *_in_place_of(failed)]
        short = Markup("confidence {}").format(percent(intent.get("confidence")))
        if guesses is not None:
            short += Markup(", threshold {}").format(percent(guesses.threshold))
            facts.append(("Chosen", _chosen(str(intent["intent"]), _number(intent.get("confidence")), guesses)))
    else:
        facts.append(("Decided by", Markup("{}: {}").format(by, detail) if detail else by))
        facts.append(("Classifier", _not_needed() if classified is None else _classifier(classified)))
    if guesses is not None:
        facts.append(("Runner-up", _runner_up(str(intent["intent"]), guesses)))
    return IntentExplanation(title="Why this skill", short=short, facts=tuple(facts), guesses=guesses)


def unclear(facts_of: Facts, classified: Facts | None, failed: Facts | None = None) -> IntentExplanation | None:
    """Why nothing was assigned; None where the event's own line says all there is."""
    if classified is None:
        return None
    guesses = Guesses.of(classified)
    facts = [("Asked", _classifier(classified)), *_in_place_of(failed)]
    short = Markup("no guess")
    if guesses.candidates:
        best = guesses.candidates[0]
        named = [guess for guess in guesses.candidates if guess.intent not in OUT_OF_SCOPE]
        if best.intent in OUT_OF_SCOPE:
            short = Markup("out of scope, confidence {}").format(percent(best.confidence))
            facts.append(("Best guess", _out_of_scope(best)))
            facts += [("Best intent", _against(guess, guesses.threshold)) for guess in named[:1]]
        else:
            short = Markup("no intent reached {}").format(percent(guesses.threshold))
            facts.append(("Best guess", _against(best, guesses.threshold)))
    facts.append(("Result", Markup("{}").format(facts_of["reason"])))
    return IntentExplanation(title="Why no intent matched", short=short, facts=tuple(facts), guesses=guesses)


def share(part: float) -> str:
    """Write a part of a whole as a length in percent."""
    return f"{min(max(part, 0.0), 1.0) * 100:.2f}%"


def _classifier(classified: Facts | None) -> Markup:
    if classified is None:
        return Markup("The classifier; its own record is not among the events shown here")
    return Markup("Classifier <code>{}</code>, version <code>{}</code>, in {}").format(
        classified["classifier"], classified["classifier_version"], milliseconds(classified["duration_ms"])
    )


def _in_place_of(failed: Facts | None) -> list[tuple[str, Markup]]:
    if failed is None:
        return []
    said = Markup("Classifier <code>{}</code>, version <code>{}</code>, which did not answer: {}").format(
        failed["classifier"], failed["classifier_version"], failed["error_class"]
    )
    return [("In place of", said)]


def _not_needed() -> Markup:
    return Markup("Not asked: nothing had to be guessed")


def _out_of_scope(guess: CandidateBar) -> Markup:
    return Markup("<code>{}</code> with {}: the message belongs to no intent").format(
        guess.intent, percent(guess.confidence)
    )


def _against(guess: CandidateBar, threshold: float) -> Markup:
    points = (guess.confidence - threshold) * 100
    place = "above" if points >= 0 else "below"
    return Markup("<code>{}</code> with {}, {:.0f} points {} the threshold of {}").format(
        guess.intent, percent(guess.confidence), abs(points), place, percent(threshold)
    )


def _chosen(intent: str, confidence: float, guesses: Guesses) -> Markup:
    width = share(confidence)
    enough = confidence >= guesses.threshold
    return _against(CandidateBar(intent=intent, confidence=confidence, width=width, enough=enough), guesses.threshold)


def _runner_up(intent: str, guesses: Guesses) -> Markup:
    others = [guess for guess in guesses.candidates if guess.intent != intent]
    if not others:
        return Markup("None: the classifier had no other guess")
    if others[0].intent in OUT_OF_SCOPE:
        then = "the contact would have been asked again"
    elif others[0].enough:
        then = "would have been taken instead"
    else:
        then = "not enough: the contact would have been asked again"
    return Markup("<code>{}</code> with {}, {}").format(others[0].intent, percent(others[0].confidence), then)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
