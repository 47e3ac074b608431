"""Engines: integrate records with forward sensitivities and sum up the normal equations.

Input: a `FitProblem` and values of its unknowns.
Output: `Sums`, by compiled code where there is a compiler, otherwise by NumPy or PyTorch.
"""
