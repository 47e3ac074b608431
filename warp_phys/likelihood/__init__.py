"""The likelihood of records under a system: unknowns, noise, residuals, normal equations.

Comes in: records, a system and which of its quantities are unknown.
Goes out: sums of squares, gradients and damped steps, for many records at once.
"""
