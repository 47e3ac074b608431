"""The information recurrence, the method of the information head.

Input: a likelihood problem (records, unknowns, noise) and a prior of the unknowns.
Output: unknowns with their covariance at every sample, and whether the model describes the record.
"""
