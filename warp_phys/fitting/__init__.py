"""Maximum likelihood for every trajectory of a data set at once.

Comes in: a system, a data set and options.
Goes out: a labeled data set of optima, errors and statuses, from `fit.py`, the one door.
"""
