"""Resources in, what should exist out: pure functions without I/O, clock or randomness."""
