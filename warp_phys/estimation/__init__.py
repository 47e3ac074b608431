"""Estimates at every sample and forecasts, with bands.

Comes in: a model or a fit, and a data set.
Goes out: labeled data sets.
"""
