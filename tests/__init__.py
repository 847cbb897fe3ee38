"""Tests; a package, so that their shared parts have names."""
