"""Results as people look at them: in print and in pictures.

Comes in: a data set that a fit, an estimate or a simulation returned.
Goes out: text and matplotlib axes.
"""
