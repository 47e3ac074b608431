"""Sampling designs: how the uniform numbers behind all drawn quantities fill the unit cube.

Comes in: random streams, the names of the quantities, and which trajectories.
Goes out: one point of the unit cube for each trajectory. One file a design, found by its place.
"""
