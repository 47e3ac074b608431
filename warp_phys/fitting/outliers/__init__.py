"""Gross outliers: which values to suspect, and the test of fits without them."""
