"""Handing over to people."""
