"""Waves, oscillators and pendulums."""
