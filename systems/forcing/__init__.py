"""External inputs and doses that act on trajectories (forcing).

Input: arrays of inputs, `Dose` objects, or a data set of the schema.
Output: tables of inputs, doses of many trajectories, and the schedule that an integrator follows.
"""
