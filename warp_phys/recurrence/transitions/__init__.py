"""Structures of A: what each stores and how it acts on a state."""
