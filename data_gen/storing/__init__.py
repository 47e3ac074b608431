"""Data sets in shards on disk: made in parallel, resumed after a kill, opened lazily.

Comes in: a plan and a folder.
Goes out: files and their manifest; a data set when it is opened.
"""
