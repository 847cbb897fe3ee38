"""Where channels deliver."""
