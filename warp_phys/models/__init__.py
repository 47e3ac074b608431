"""WarpPhys and Warp: scaling, drive, recurrence, head and root, and their files.

Comes in: a system, choices by name, records.
Goes out: a distribution over the unknowns at every sample; files of models.
"""
