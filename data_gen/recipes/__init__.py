"""Makes published data sets from their published recipes.

Input: a name.
Output: a data set made by `simulate`.
"""
