"""States a likelihood problem: unknowns, known values and noise, from the caller's arguments.

Input: a system, records and arguments as a caller of `fit` gives them.
Output: a `FitProblem`, from `state_problem.py`, or an error that says which argument is wrong.
"""
