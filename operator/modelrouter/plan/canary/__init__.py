"""Canaries: what is measured, how it is judged, and what follows."""
