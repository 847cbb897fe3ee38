"""Tests that need PostgreSQL; each has a database of its own."""
