"""Heads: the meaning of the hidden state, and the decoding of the unknowns from it.

Each head has its own file, which alone registers it. Input: hidden states, or whole records.
Output: a distribution over the unknowns at every sample, or a separate estimator.
"""
