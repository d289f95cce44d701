"""What becomes bytes, and how: calls, results, errors, and objects of the main script."""
