"""Jobs that fail: counted, tried again after pauses that grow, given up, and what an administrator does then."""
