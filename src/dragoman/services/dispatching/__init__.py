"""From the mailbox to the decision: a contact's messages are loaded, dispatched and committed in order."""
