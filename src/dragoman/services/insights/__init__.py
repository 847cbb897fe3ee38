"""Counts what skills do and what nobody answers, in the footsteps of the dispatcher."""
