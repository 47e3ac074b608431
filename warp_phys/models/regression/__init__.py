"""Least squares on the weak form by running sums, behind the regression head.

Input: records of every state.
Output: parameters at every sample; nothing is trained.
"""
