"""Which passwords are good enough: long, and not among those that are tried first."""

from __future__ import annotations

from zxcvbn import zxcvbn  # type: ignore[import-untyped]

from dragoman.translations import deferred

SHORTEST = 12
LONGEST = 1024
GOOD_ENOUGH = 4
"""Of zxcvbn's 0 to 4: 10^10 guesses and more, each of which argon2 makes expensive."""

_JUDGED = 72
"""How many characters are looked at: the judgement takes time with the square of the length."""


def problem(password: str, *, email: str, name: str) -> str:
    """What is wrong with *password* for this person, in words for them; empty where nothing is."""
    if len(password) < SHORTEST:
        return deferred("Use at least %(least)s characters; several words are easy to remember.", least=SHORTEST)
    if len(password) > LONGEST:
        return deferred("Use at most %(most)s characters.", most=LONGEST)
    if not password.isprintable():
        return deferred("Use characters that can be seen: no line breaks and no control characters.")
    known = [part for part in (*email.replace("@", ".").split("."), *name.split(), "dragoman") if len(part) > 2]
    own = password.lower()
    for part in sorted(known, key=len, reverse=True):
        own = own.replace(part.lower(), "")
    if len(own) < SHORTEST - 4:
        return deferred("Your name, your address and the product’s name are tried first. Use other words.")
    judged = zxcvbn(password[:_JUDGED], user_inputs=[email, name, *known])
    if judged["score"] < GOOD_ENOUGH:
        return deferred("This password is easily guessed. Use several words that do not belong together.")
    return ""
