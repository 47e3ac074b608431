"""Steps of the numerical methods, and the policies that choose the step sizes.

Methods, explicit (`runge_kutta`) and implicit (`rosenbrock`), compute a step of a given size. Step
policies choose the sizes: `adaptive` controls the error of each trajectory, and `planned` keeps the
number of steps between two samples from call to call. Each of these exists twice, as C++ for
compiled kernels, which `source` assembles, and as PyTorch for machines without a compiler.

Input: a `Problem` of `integrate`, or the records of a fit.
Output: a `Solution`; for fits, the states and their derivatives at every sample, which are passed
to a consumer.
"""
