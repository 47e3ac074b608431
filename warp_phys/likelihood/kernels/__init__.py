"""Small dense equations of many lanes in C++, compiled on first use.

Input: matrices and vectors of lanes as tensors.
Output: what the PyTorch code beside each caller computes, to rounding; nothing without a compiler.
"""
