"""What each trajectory is given: parameters, initial states, inputs and doses.

Comes in: ranges, distributions, designs, constraints and a seed.
Goes out: values for any block of trajectories, the same whatever the block.
"""
