"""The sans-I/O core: it decides, and its only output is the record of what it decided.

:func:`dragoman.dispatch.core.dispatch` is a generator. It yields effects (:mod:`dragoman.dispatch.effects`)
that need the outside world, is sent their results, and returns the last
:class:`~dragoman.dispatch.turn.Turn`. It imports the standard library and :mod:`dragoman.domain` only; it
never reads a clock, an environment variable or a random number.
"""
