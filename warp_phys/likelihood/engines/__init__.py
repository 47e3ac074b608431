"""Engines: they pass records and add up residuals and sensitivities.

Comes in: a `FitProblem` and values of its unknowns.
Goes out: `Sums`, by compiled code where there is a compiler, else by NumPy or PyTorch.
"""
