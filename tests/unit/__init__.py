"""Tests that need nothing but the code: no database, no network."""
