"""Populations that grow, feed on each other and compete."""
