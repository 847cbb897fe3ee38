"""Fires triggers and keeps what they send: rules, templates, who wants none of it."""
