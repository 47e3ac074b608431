"""Data sets in shards on disk: made in parallel, resumed after a kill, opened lazily.

Input: a plan and a folder.
Output: files and their manifest; a data set when it is opened.
"""
