"""Python's collector of cycles, set for processes that make many short-lived objects beside a large, lasting heap."""

from __future__ import annotations

import ctypes
import gc
import sys

YOUNG = 10_000
"""Objects that come before the youngest are looked at; Python's 700 means a look with every second or third request."""

LARGE_BLOCK_BYTES = 128 * 1024
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of malloc.h


def settle() -> None:
    """To be called once a process is set up: what is there then is not looked at again.

    Of the time that accepting a webhook takes, a fifth went into looking for cycles that are not there (decision 0018).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 20, 50)
    _return_large_blocks()


def _return_large_blocks() -> None:
    """Have glibc give large blocks back to the system as they are freed.

    By itself it keeps blocks of a size that was freed before, in a heap that what lives longer holds open: bodies that
    were given up would take half as much again as they may (decision 0041).
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
