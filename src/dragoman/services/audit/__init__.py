"""Proof that the record is whole: checkpoints, verification, and what administrators did."""
