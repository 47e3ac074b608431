"""Draws parameters, initial states and doses for each trajectory, and lays out its inputs.

Input: ranges, distributions, designs, constraints and a seed.
Output: values for any block of trajectories, which do not depend on the block.
"""
