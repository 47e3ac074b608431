"""The systems that come with the package, one file each, in a folder for each field.

Input: a system's name.
Output: the class, from `registry.py`, which finds files by where they lie.
"""
