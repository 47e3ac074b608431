"""Training of models: losses, the training loop, checkpoints.

Input: a model and a data set.
Output: the trained model and its history.
"""
