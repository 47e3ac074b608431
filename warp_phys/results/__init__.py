"""Results as people look at them: in print and in pictures.

Input: a data set that a fit, an estimate or a simulation returned.
Output: text and matplotlib axes.
"""
