"""The stepping code: one step of a method, and the policies that choose the steps.

Methods, explicit (`runge_kutta`) and implicit (`rosenbrock`), take a step and know nothing of how
steps are chosen. Policies choose them: `adaptive` follows the error of each trajectory, `planned`
keeps the number of steps between two samples from call to call. Both exist twice, as C++ for
compiled kernels (`source` puts these together) and as PyTorch for where there is no compiler.

Input: a `Problem` of `integrate`, or the records of a fit.
Output: a `Solution`; for fits the states and their derivatives at every sample, handed to whoever
consumes them.
"""
