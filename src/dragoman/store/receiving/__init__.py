"""What came in: raw deliveries, the mailbox, and the limits on it."""
