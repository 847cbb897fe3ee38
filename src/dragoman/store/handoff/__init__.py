"""What agents work with: their drafts, what they have read, what they asked for."""
