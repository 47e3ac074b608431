"""The plan of a data set, and making any block of it.

Comes in: what `simulate` was asked for, checked.
Goes out: blocks of trajectories, drawn, integrated and observed.
"""
