"""Dragoman: a dispatcher for WhatsApp conversations whose every decision is on record."""

__version__ = "0.1.0"
