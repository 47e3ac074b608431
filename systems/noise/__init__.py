"""Noise models: how an observed value is distributed about the predicted one, one file each.

Comes in: observed and predicted values, levels, uniform random numbers.
Goes out: residuals, losses and weights for a fit, log densities, draws. Neither systems nor data
sets are known here.
"""
