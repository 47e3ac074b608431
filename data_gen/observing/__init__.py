"""Simulates the observation of trajectories: noise and missing values.

Input: noiseless outputs and noise levels.
Output: observed outputs.
"""
