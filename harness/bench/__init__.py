"""Load, measuring, the bare baseline of the same run, and their tables."""
