"""What automation keeps: triggers, each time that they fired, and the templates of their mails."""
