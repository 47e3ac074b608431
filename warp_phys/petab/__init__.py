"""Reading of parameter estimation problems in the PEtab format.

Input: the YAML file of a problem; its tables and its SBML model lie next to it.
Output: a system, a data set of the schema, the arguments of `fit`, and the log likelihood.
"""
