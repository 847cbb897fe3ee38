"""Email: reads what a mailbox received. Sending is still to come, so that replies wait in the outbox."""
