"""Drugs in the body, in compartments."""
