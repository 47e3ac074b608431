"""Nerve membranes."""
