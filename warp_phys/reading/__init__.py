"""Reading of CSV, NetCDF and HDF5 files that this package did not write.

Input: a path.
Output: a labeled data set of the schema.
"""
