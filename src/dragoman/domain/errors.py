"""Exceptions are for broken promises. Expected outcomes are values, never exceptions.

DragomanError
├── IllegalTransitionError   a state change that the product does not know
├── StaleTokenError          another worker holds the contact's lease by now
├── NotFoundError            nothing of that name or id in this tenant
├── AlreadyTakenError        a name or address that must be unique is in use
└── ConfigurationError       the installation is set up wrongly; the message says what to do
"""

from __future__ import annotations


class DragomanError(Exception):
    """Base of every exception that Dragoman raises on purpose."""


class IllegalTransitionError(DragomanError):
    """A session cannot go from this state to that one."""

    def __init__(self, old: str, new: str) -> None:
        super().__init__(f"a session cannot go from {old} to {new}")
        self.old, self.new = old, new


class StaleTokenError(DragomanError):
    """The lease was taken over: the holder of this fencing token may not write any more."""


class NotFoundError(DragomanError):
    """Nothing of that name or id exists in this tenant."""


class AlreadyTakenError(DragomanError):
    """A name or address that must be unique in the installation is in use."""


class ConfigurationError(DragomanError):
    """The installation is set up wrongly; the message is one line and says what to do."""


class MailError(DragomanError):
    """A mail was not taken, or it cannot be known that it was; trying again later may help. The text says why."""


class ChangeRefusedError(DragomanError):
    """The change is not made; the text says why, to the person."""


class WindowClosedError(ChangeRefusedError):
    """Free text is not sent: the contact's customer service window has closed, and a template is needed."""
