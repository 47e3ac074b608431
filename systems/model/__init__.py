"""The contract of a system: what its author declares, and what the rest of the package calls.

Comes in: a subclass of `System` with its states, parameters, outputs and equations.
Goes out: checked declarations, tensors of fixed shapes, supports, and the affine form, if any.
"""
