"""What is removed, and when: retention, legal holds, a whole tenant."""
