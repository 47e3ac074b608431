"""The information recurrence in C++, compiled on first use, with SIMD over records.

Input: the hidden state of N records and their linearized samples.
Output: the hidden state after these samples, and what is known at each of them.
"""
