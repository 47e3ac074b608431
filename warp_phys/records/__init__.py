"""Measured trajectories as tensors: outputs, times, gaps, inputs and doses.

Input: a data set of the schema.
Output: `Records`, which replace the data set in all computations.
"""
