"""Forcing: the external inputs and the doses that act on trajectories.

Input: arrays of inputs, `Dose` objects, or a data set of the schema.
Output: tables of inputs, doses of many trajectories, and the schedule an integrator follows.
"""
