"""The plan of a data set, and making any block of it.

Input: the options of `simulate`.
Output: blocks of trajectories, drawn, integrated and observed.
"""
