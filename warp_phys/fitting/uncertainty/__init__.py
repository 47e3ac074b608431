"""Uncertainty of a fit: covariance, identifiability and confidence intervals.

Comes in: a problem and its solved fits. Goes out: `uncertainty`, the covariance and what the data
do not determine, and `intervals`, from t quantiles or along the profile likelihood. A profile is
followed by `path`, in the coordinates of `charts`, with a `bounded_descent` at every point and the
brackets of `crossing`.
"""
