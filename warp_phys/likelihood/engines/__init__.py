"""Engines: they pass records and add up residuals and sensitivities.

Input: a `FitProblem` and values of its unknowns.
Output: `Sums`, by compiled code where there is a compiler, else by NumPy or PyTorch.
"""
