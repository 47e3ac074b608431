"""Registries: the files of a folder are what can be chosen by name.

Comes in: a package of modules, and the base class that each of them implements.
Goes out: the classes by name; an error that names the file which does not keep to this.
"""
