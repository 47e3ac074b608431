"""Measured trajectories as tensors: outputs, times, gaps, and what acted from outside.

Comes in: a data set of the schema.
Goes out: `Records`; the data set stops here.
"""
