"""Registries: classes that can be chosen by name, found in the files of a folder.

Input: a package of modules, and the base class that each of them implements.
Output: the classes by name, or an error that names the file without such a class.
"""
