"""The contract of a system: what its author declares, and what the rest of the package calls.

Input: a subclass of `System` with its states, parameters, outputs and equations.
Output: checked declarations, tensors of fixed shapes, supports, and the affine form, if any.
"""
