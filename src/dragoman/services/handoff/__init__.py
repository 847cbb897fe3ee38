"""What people do with sessions that were handed over: who has them, what they write, how their part ends."""
