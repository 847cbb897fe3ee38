"""From the channel to the mailbox: deliveries are verified, cleaned and put on record."""
