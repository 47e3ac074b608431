"""From a system's torch functions to expressions, and from these to C++ and NumPy code.

Comes in: a `System`.
Goes out: its functions and their derivatives as source text, and compiled libraries from a cache.
"""
