"""Noise models: how an observed value is distributed about the predicted one, one file for each.

Input: observed and predicted values, levels, uniform random numbers.
Output: residuals, losses and weights for a fit, log densities, draws. This folder depends on
neither systems nor data sets.
"""
