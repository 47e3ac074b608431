"""Reading foreign files: CSV, NetCDF and HDF5 that this package did not write.

Comes in: a path.
Goes out: a labeled data set of the schema.
"""
