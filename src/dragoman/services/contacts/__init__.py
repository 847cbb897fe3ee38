"""Contacts that turn out to be one person are merged; contacts that want to be forgotten are erased."""
