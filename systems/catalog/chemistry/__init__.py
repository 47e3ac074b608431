"""Reactions in flasks and in cells."""
