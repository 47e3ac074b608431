"""Makes published data sets from their published recipes.

Comes in: a name.
Goes out: a data set made by `simulate`.
"""
