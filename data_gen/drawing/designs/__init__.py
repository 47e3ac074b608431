"""Sampling designs: how the uniform numbers for all drawn quantities fill the unit cube.

Input: random streams, the names of the quantities, and the block of trajectories.
Output: one point of the unit cube for each trajectory. A file in this folder registers a design.
"""
