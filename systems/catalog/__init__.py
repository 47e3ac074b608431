"""The systems that come with the package, one file each, in a folder for each field.

Comes in: a system's name.
Goes out: the class, from `registry.py`, which finds files by where they lie.
"""
