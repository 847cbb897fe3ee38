"""The record: messages and audit events, appended, read back, never changed.

``append`` is the only writer of its tables, ``read`` their reader for pages and API.
"""
