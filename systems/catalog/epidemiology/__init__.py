"""Epidemics in compartments."""
