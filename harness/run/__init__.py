"""A test set against a Cluster: the runner, what its report says, and what became of the time."""
