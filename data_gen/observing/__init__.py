"""What an instrument would have seen: noise and missing values.

Comes in: noiseless outputs and noise levels.
Goes out: observed outputs.
"""
