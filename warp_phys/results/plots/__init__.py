"""Plots: each function takes data and axes, and returns axes."""
