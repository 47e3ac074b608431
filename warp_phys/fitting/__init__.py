"""Maximum likelihood for every trajectory of a data set at once.

Input: a system, a data set and options.
Output: a labeled data set of optima, errors and statuses, from `fit.py`.
"""
