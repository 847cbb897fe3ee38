"""Benchmarks, each measured beside its limit or its peer in the same run. ``make bench`` runs them all."""
