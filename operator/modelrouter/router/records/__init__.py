"""What was decided for each of the last requests, and what became of it."""
