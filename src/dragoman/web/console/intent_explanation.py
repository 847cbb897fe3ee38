"""Why this skill: what decided an intent, against which threshold, and what would have come next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from dragoman.dispatch.understand import OUT_OF_SCOPE
from dragoman.translations import gettext as _
from dragoman.translations import markup, translated
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
    by = escape(translated(SOURCES.get(source, source)))
    facts: list[tuple[str, Markup]] = []
    short = by
    if source == "classifier":
        facts += [(_("Decided by"), _classifier(classified)), *_in_place_of(failed)]
        confidence = percent(intent.get("confidence"))
        short = markup("confidence %(confidence)s", confidence=confidence)
        if guesses is not None:
            threshold = percent(guesses.threshold)
            short = markup(
                "confidence %(confidence)s, threshold %(threshold)s", confidence=confidence, threshold=threshold
            )
            facts.append((_("Chosen"), _chosen(str(intent["intent"]), _number(intent.get("confidence")), guesses)))
    else:
        facts.append((_("Decided by"), Markup("{}: {}").format(by, detail) if detail else by))
        facts.append((_("Classifier"), _not_needed() if classified is None else _classifier(classified)))
    if guesses is not None:
        facts.append((_("Runner-up"), _runner_up(str(intent["intent"]), guesses)))
    return IntentExplanation(title=_("Why this skill"), short=short, facts=tuple(facts), guesses=guesses)


def unclear(facts_of: Facts, classified: Facts | None, failed: Facts | None = None) -> IntentExplanation | None:
    """Why nothing was assigned; None where the event's own line says all there is."""
    if classified is None:
        return None
    guesses = Guesses.of(classified)
    facts = [(_("Asked"), _classifier(classified)), *_in_place_of(failed)]
    short = markup("no guess")
    if guesses.candidates:
        best = guesses.candidates[0]
        named = [guess for guess in guesses.candidates if guess.intent not in OUT_OF_SCOPE]
        if best.intent in OUT_OF_SCOPE:
            short = markup("out of scope, confidence %(confidence)s", confidence=percent(best.confidence))
            facts.append((_("Best guess"), _out_of_scope(best)))
            facts += [(_("Best intent"), _against(guess, guesses.threshold)) for guess in named[:1]]
        else:
            short = markup("no intent reached %(threshold)s", threshold=percent(guesses.threshold))
            facts.append((_("Best guess"), _against(best, guesses.threshold)))
    facts.append((_("Result"), escape(facts_of["reason"])))
    return IntentExplanation(title=_("Why no intent matched"), short=short, facts=tuple(facts), guesses=guesses)


def share(part: float) -> str:
    """Write a part of a whole as a length in percent."""
    return f"{min(max(part, 0.0), 1.0) * 100:.2f}%"


def _classifier(classified: Facts | None) -> Markup:
    if classified is None:
        return markup("The classifier; its own record is not among the events shown here")
    return markup(
        "Classifier <code>%(classifier)s</code>, version <code>%(version)s</code>, in %(duration)s",
        classifier=classified["classifier"],
        version=classified["classifier_version"],
        duration=milliseconds(classified["duration_ms"]),
    )


def _in_place_of(failed: Facts | None) -> list[tuple[str, Markup]]:
    if failed is None:
        return []
    said = markup(
        "Classifier <code>%(classifier)s</code>, version <code>%(version)s</code>, which did not answer: %(error)s",
        classifier=failed["classifier"],
        version=failed["classifier_version"],
        error=failed["error_class"],
    )
    return [(_("Instead of"), said)]


def _not_needed() -> Markup:
    return markup("Not asked: nothing had to be guessed")


def _out_of_scope(guess: CandidateBar) -> Markup:
    return markup(
        "<code>%(intent)s</code> with %(confidence)s: the message belongs to no intent",
        intent=guess.intent,
        confidence=percent(guess.confidence),
    )


def _against(guess: CandidateBar, threshold: float) -> Markup:
    points = (guess.confidence - threshold) * 100
    values = {
        "intent": guess.intent,
        "confidence": percent(guess.confidence),
        "points": f"{abs(points):.0f}",
        "threshold": percent(threshold),
    }
    if points >= 0:
        return markup(
            "<code>%(intent)s</code> with %(confidence)s, %(points)s points above the threshold of %(threshold)s",
            **values,
        )
    return markup(
        "<code>%(intent)s</code> with %(confidence)s, %(points)s points below the threshold of %(threshold)s", **values
    )


def _chosen(intent: str, confidence: float, guesses: Guesses) -> Markup:
    width = share(confidence)
    enough = confidence >= guesses.threshold
    return _against(CandidateBar(intent=intent, confidence=confidence, width=width, enough=enough), guesses.threshold)


def _runner_up(intent: str, guesses: Guesses) -> Markup:
    others = [guess for guess in guesses.candidates if guess.intent != intent]
    if not others:
        return markup("None: the classifier had no other guess")
    name, confidence = others[0].intent, percent(others[0].confidence)
    if name in OUT_OF_SCOPE:
        return markup(
            "<code>%(intent)s</code> with %(confidence)s, the contact would have been asked again",
            intent=name,
            confidence=confidence,
        )
    if others[0].enough:
        return markup(
            "<code>%(intent)s</code> with %(confidence)s, would have been taken instead",
            intent=name,
            confidence=confidence,
        )
    return markup(
        "<code>%(intent)s</code> with %(confidence)s, not enough: the contact would have been asked again",
        intent=name,
        confidence=confidence,
    )


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
