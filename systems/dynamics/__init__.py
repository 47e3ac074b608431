"""Integrates many trajectories of a system, each with its own error estimate and status.

Input: a system, parameters, initial states, times, inputs and doses.
Output: a `Solution`, returned by `integrate` in `integrate.py`, the only entry point.
"""
