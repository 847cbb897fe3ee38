"""The list of the Conversation Logs has its filters, SQL, cursors and exports here."""
