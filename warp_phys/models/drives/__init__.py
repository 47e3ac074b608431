"""Drives: what moves the hidden state, u_t of theta_t = A theta_{t-1} + B u_t.

One file a drive, registered by that file alone. Input: scaled samples of records.
Output: u_t at every sample, from the last few samples only.
"""
