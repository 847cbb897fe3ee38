"""Exports of the Conversation Logs: which columns there are, how each format writes them, and the stream itself."""
