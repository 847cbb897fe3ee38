"""Everything known about the outside formats, and nothing else: one package for each channel.

A channel turns what comes in into values of :mod:`dragoman.domain` and renders those values for the other
side. It knows no table, no tenant and no use case; ``services`` puts it to use.
"""
