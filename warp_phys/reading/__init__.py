"""Reading foreign files: CSV, NetCDF and HDF5 that this package did not write.

Input: a path.
Output: a labeled data set of the schema.
"""
