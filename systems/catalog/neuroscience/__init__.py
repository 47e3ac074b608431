"""Nerve cells and their membranes."""
