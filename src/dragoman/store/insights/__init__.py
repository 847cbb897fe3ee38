"""What is counted of the audit log, and what is read of the counts."""
