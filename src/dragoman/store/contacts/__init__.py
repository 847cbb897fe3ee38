"""Contacts, the identities that lead to them, and how they are erased."""
