"""Says why a language model did not classify a text, in words for an administrator.

The class names stand on the timeline as error classes. Messages are ours alone: they quote neither the contact's text
nor the key nor anything that the server sent, which could hold either.
"""

from __future__ import annotations

from typing import ClassVar


class ModelError(Exception):
    """Base of every way in which the model can fail.

    ``is_down`` says that the server is to blame, whatever the text was: three such failures in a row open its circuit.
    """

    is_down: ClassVar[bool] = False

    def __init__(self, message: str, *, error_class: str = "", is_down: bool | None = None) -> None:
        super().__init__(message)
        self.error_class = error_class or type(self).__name__
        self.counts_as_down = self.is_down if is_down is None else is_down


class ModelNotAskedError(ModelError):
    """The server failed several times in a row, and it is not yet time to try it again."""


class ModelKeyError(ModelError):
    """The key for the server cannot be opened."""


class ModelTooDearError(ModelError):
    """One request could cost more than one run of the classifier may."""


class PromptTooLongError(ModelError):
    """The registry is too large to be sent with each message."""


class ModelTimedOutError(ModelError):
    """There was no whole answer within the deadline."""

    is_down = True


class ModelUnreachableError(ModelError):
    """No answer that could be used came."""

    is_down = True


class ModelStatusError(ModelError):
    """The server answered with a status that is no success."""


class ModelProtocolError(ModelError):
    """The answer is not one of a chat completion."""

    is_down = True


class ModelAnswerError(ModelError):
    """What the model wrote is not the list of intents that was asked for."""


class ModelAnswerCutError(ModelError):
    """The answer is longer than allowed and was cut."""


class ModelRefusedError(ModelError):
    """The model, or a filter before it, refused to answer."""
