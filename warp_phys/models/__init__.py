"""WarpPhys and Warp: scaling, drive, recurrence, head and root, and their files.

Input: a system; a head, a drive and a structure, by name or as objects; records.
Output: a distribution over the unknowns at every sample; files of models.
"""
