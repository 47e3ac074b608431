"""Summaries of fits as text."""
