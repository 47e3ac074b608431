"""Evaluation modes of the recurrence in PyTorch, all tested against `step_by_step.py`."""
