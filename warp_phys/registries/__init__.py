"""Registries: the files of a folder are what can be chosen by name.

Input: a package of modules, and the base class that each of them implements.
Output: the classes by name; an error that names the file which does not keep to this.
"""
