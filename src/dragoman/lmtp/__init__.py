"""Receives mails: the mail server in front of us hands them over by LMTP."""
