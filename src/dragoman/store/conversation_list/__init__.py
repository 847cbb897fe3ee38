"""The list of the Conversation Logs: filters, SQL, cursors, exports."""
