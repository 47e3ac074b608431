"""Measured trajectories as tensors: outputs, times, gaps, and what acted from outside.

Input: a data set of the schema.
Output: `Records`; the data set stops here.
"""
