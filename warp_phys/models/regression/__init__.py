"""The regression head: running sums behind least squares on the weak form.

Comes in: records of every state.
Goes out: parameters at every sample; nothing is trained.
"""
