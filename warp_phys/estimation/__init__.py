"""Estimates at every sample and forecasts, with bands.

Input: a model or a fit, and a data set.
Output: labeled data sets.
"""
