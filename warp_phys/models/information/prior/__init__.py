"""The prior of the unknowns: a normal distribution in unconstrained coordinates.

Input: distributions by the caller, the moments of a data set, or the ranges of a system.
Output: mean and precision of the unknowns, and those of the logarithms of the noise levels.
"""
