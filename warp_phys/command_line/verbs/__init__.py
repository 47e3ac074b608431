"""The verbs of the command line, one file each.

Input: the values of the verb's options, already converted from text.
Output: files, and printed tables. A file `NAME.py` holds the function `NAME`, which `main.py`
finds.
"""
