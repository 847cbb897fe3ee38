"""From the outbox to the channel, and what the channel says of it."""
