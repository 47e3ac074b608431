"""Sampling designs: how the uniform numbers behind all drawn quantities fill the unit cube.

Input: random streams, the names of the quantities, and which trajectories.
Output: one point of the unit cube for each trajectory. One file a design, found by its place.
"""
