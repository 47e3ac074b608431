"""Adaptive methods, explicit and implicit, each trajectory with steps of its own.

Comes in: a `Problem`.
Goes out: a `Solution`, by compiled code where there is a compiler, else by PyTorch.
"""
