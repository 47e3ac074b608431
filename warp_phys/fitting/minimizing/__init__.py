"""Batched Levenberg-Marquardt.

Comes in: starting points and an engine.
Goes out: optima, each with its status.
"""
