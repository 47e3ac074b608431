"""What an instrument would have seen: noise and missing values.

Input: noiseless outputs and noise levels.
Output: observed outputs.
"""
