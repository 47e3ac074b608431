"""The data schema: names, dimensions and units of every variable, and files that keep it.

Input: arrays and their labels, or a path.
Output: labeled data sets, checked, and NetCDF files written whole or not at all.
"""
