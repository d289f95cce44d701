"""``map``: its inputs, its results, and the iterator that a user has of it."""
