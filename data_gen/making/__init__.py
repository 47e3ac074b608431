"""The plan of a data set, and making any block of it.

Comes in: the options of `simulate`.
Goes out: blocks of trajectories, drawn, integrated and observed.
"""
