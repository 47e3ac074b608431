"""Uncertainty of a fit: covariance, identifiability and confidence intervals."""
