"""Batched Levenberg-Marquardt.

Input: starting points and an engine.
Output: optima, each with its status.
"""
