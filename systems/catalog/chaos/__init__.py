"""Chaotic systems."""
