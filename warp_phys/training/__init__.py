"""Training models: losses, the loop, checkpoints.

Input: a model and a data set.
Output: the model, trained, and its history.
"""
