"""What a test set must come to, from the file alone."""
