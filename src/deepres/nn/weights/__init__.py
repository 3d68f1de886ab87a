"""Whose weights are these? Files, formats and names of others, read safely; refused where they only seem to fit."""
