"""Noise models: how values scatter about the prediction, and how a fit weights their residuals.

Input: observed and predicted values, levels, uniform random numbers.
Output: residuals, losses and weights for a fit, log densities, draws. This folder depends on
neither systems nor data sets.
"""
