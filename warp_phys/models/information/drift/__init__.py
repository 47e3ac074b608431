"""Unknowns that change in time: parameters take a random walk.

Input: records, a prior, and the sizes of the random walks.
Output: the parameters and states at every sample, with their covariance.
"""
