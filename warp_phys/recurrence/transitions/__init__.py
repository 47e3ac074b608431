"""Structures of the transition matrix A: their parameters, products and powers.

Each structure has its own file, which alone registers it. Input: the tensors that define A.
Output: the product with a state, powers, and A as a function of trainable parameters.
"""
