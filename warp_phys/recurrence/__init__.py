"""Linear recurrences theta_t = A theta_{t-1} + B u_t: one door, many ways behind it.

Comes in: a transition A, B, inputs and an initial state.
Goes out: all states, or what a network whose weights they are says.
"""
