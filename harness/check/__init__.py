"""Judges over histories and statuses. Each answers valid, invalid or unknown, with a reason."""
