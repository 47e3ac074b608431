"""Drives: the inputs u_t of the recurrence theta_t = A theta_{t-1} + B u_t.

Each drive has its own file, which alone registers it. Input: scaled samples of records.
Output: u_t at every sample, from the last few samples only.
"""
