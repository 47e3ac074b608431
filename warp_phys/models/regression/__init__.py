"""Least squares on the weak form by running sums, behind the regression head.

Comes in: records of every state.
Goes out: parameters at every sample; nothing is trained.
"""
