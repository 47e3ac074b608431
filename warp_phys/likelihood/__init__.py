"""The likelihood of records under a system: unknowns, noise, residuals, normal equations.

Input: records, a system and which of its quantities are unknown.
Output: sums of squares, gradients and damped steps, for many records at once.
"""
