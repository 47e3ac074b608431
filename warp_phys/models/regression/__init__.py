"""Recursive least squares on the weak form, the method of the regression head.

Input: records of every state.
Output: parameters at every sample; nothing is trained.
"""
