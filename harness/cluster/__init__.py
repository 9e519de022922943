"""The seam between a runner and its replicas, and the values that cross it."""
