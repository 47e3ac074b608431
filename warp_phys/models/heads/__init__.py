"""Heads: what the hidden state is, and how the unknowns are read off it.

One file a head, registered by that file alone. Input: hidden states, or whole records.
Output: a distribution over the unknowns at every sample, or an estimator of its own.
"""
