"""What is to be sent, how fast, and what keeps it from being sent."""
