"""Compiled kernels of the recurrence, for the CPU in C++ and for the GPU in Triton."""
