"""Python's collector of cycles, set for processes that make many short-lived objects beside a large, lasting heap."""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects that come before the youngest are looked at; Python's 700 means a look with every second or third request."""


def settle() -> None:
    """To be called once a process is set up: what is there then is not looked at again.

    Of the time that accepting a webhook takes, a fifth went into looking for cycles that are not there (decision 0018).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
