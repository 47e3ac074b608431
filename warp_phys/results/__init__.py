"""Presentation of results: text reports and plots.

Input: a data set that a fit, an estimate or a simulation returned.
Output: text and matplotlib axes.
"""
