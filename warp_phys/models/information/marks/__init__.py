"""Marks: the samples at which records are linearized anew, and how.

Input: records, and what is known about their unknowns.
Output: the linearization at their optima, with corrections where posteriors are not normal.
"""
