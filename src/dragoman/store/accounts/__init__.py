"""Who may come in, and what they read and changed."""
