"""Counts of what skills did, kept beside the audit log that they are made from."""
