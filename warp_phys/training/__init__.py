"""Training models: losses, the loop, checkpoints.

Comes in: a model and a data set.
Goes out: the model, trained, and its history.
"""
