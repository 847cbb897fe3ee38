"""Checks of the record: checkpoints, verification, and what administrators did."""
