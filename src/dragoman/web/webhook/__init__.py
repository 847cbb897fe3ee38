"""Receives what channels deliver."""
