"""Says why a call of a skill failed, in words for an administrator.

The class names stand on the timeline as error classes. Messages name hosts, never whole URLs, and never a key.
"""

from __future__ import annotations

from typing import ClassVar

from dragoman.domain.plain_text import cut


class SkillCallError(Exception):
    """Base of every way in which a call can fail; ``retryable`` says whether another attempt makes sense.

    ``retry_after`` is the pause in seconds that the skill asked for.
    """

    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, retryable: bool | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.may_retry = self.retryable if retryable is None else retryable
        self.retry_after = retry_after


class SigningKeyError(SkillCallError):
    """There is no key to sign the call with, or it cannot be opened."""


class AddressRefusedError(SkillCallError):
    """The URL, or the address that its host has, is not one that a skill may be called at."""


class NameNotFoundError(SkillCallError):
    """The host's name has no address."""


class ConnectionFailedError(SkillCallError):
    """No connection came about, or it broke before the answer was whole."""

    retryable = True


class TLSFailedError(SkillCallError):
    """The server could not prove who it is, or speaks no TLS that we accept."""


class ProtocolFailedError(SkillCallError):
    """What came back is not HTTP."""


class RedirectError(SkillCallError):
    """The skill answered with a redirect, which is never followed."""


class HttpStatusError(SkillCallError):
    """The skill answered with a status that is no success."""


class ContentTypeError(SkillCallError):
    """The answer is not JSON by its own account, or is compressed."""


class AnswerTooLargeError(SkillCallError):
    """The answer is longer than allowed; the rest of it was not read."""


class InvalidAnswerError(SkillCallError):
    """The answer is no JSON, or does not have the form of an answer."""


def shown(text: str, most: int = 200) -> str:
    """Put *text* from outside in one line, short enough to be quoted in a message."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: most * 2]).split())
    return cut(line, most, mark="…")
