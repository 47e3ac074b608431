"""From a system's torch functions to expressions, and from these to C++ and NumPy code.

Input: a `System`.
Output: its functions and their derivatives as source text, and compiled libraries from a cache.
"""
