"""Integrating: many trajectories, each with its own error estimate and status.

Comes in: a system, parameters, initial states, times, inputs and doses.
Goes out: a `Solution`, from `integrate.py`, the one door.
"""
