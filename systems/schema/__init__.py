"""The data schema: names, dimensions and units of every variable, and files that keep it.

Input: arrays and their labels, or a path.
Output: checked data sets with labels, and NetCDF files that are written completely or not at all.
"""
