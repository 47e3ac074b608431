"""Structures of the transition matrix A: what each stores, how it acts, how it is learned.

One file a structure, registered by that file alone. Input: the tensors that define A.
Output: the product with a state, powers, and A as its trainable parameters define it.
"""
