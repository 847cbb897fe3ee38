"""A mail server for one machine: it takes mails by SMTP, delivers them to nobody, and keeps them to be read.

How one tries what is sent by mail without a mailbox anywhere. Like a real one it refuses some recipients, by what
stands before the at sign: ``unknown…`` for good, ``busy…`` for now.
"""
