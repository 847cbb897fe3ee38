"""Handing over to people: what agents work with."""
