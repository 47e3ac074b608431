"""What each trajectory is given: parameters, initial states, inputs and doses.

Input: ranges, distributions, designs, constraints and a seed.
Output: values for any block of trajectories, the same whatever the block.
"""
