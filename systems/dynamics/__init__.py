"""Integrating: many trajectories, each with its own error estimate and status.

Input: a system, parameters, initial states, times, inputs and doses.
Output: a `Solution`, from `integrate.py`.
"""
