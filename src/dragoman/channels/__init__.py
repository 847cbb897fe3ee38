"""A channel's package holds everything that is known about one outside format, and nothing else.

A channel turns what comes in into values of :mod:`dragoman.domain` and renders those values for the other
side. It knows no table, no tenant and no use case; ``services`` puts it to use.
"""
