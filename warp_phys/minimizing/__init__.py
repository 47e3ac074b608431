"""The batched Levenberg-Marquardt minimizer.

Input: starting points and an engine.
Output: optima, each with its status.
"""
