"""The contract of a system: what its author declares, and what everybody else may ask of it.

Comes in: a subclass of `System` with its states, parameters, outputs and equations.
Goes out: checked declarations, tensors in known shapes, supports, the affine form if there is one.
"""
