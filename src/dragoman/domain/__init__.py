"""The domain holds the nouns of the product, its states, outcomes and audit events. Standard library only.

Everything here is an immutable value. Nothing here reads a clock, a file, an environment variable or
a random number; the layers above do, and hand the readings down.
"""
