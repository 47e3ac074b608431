"""Linear recurrences theta_t = A theta_{t-1} + B u_t: structures of A, modes and kernels.

Input: a transition A, B, inputs and an initial state.
Output: all states, or the outputs of a network whose weights the states are.
"""
