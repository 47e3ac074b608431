"""A fit in print."""
