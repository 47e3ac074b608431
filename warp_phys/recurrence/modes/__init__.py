"""Ways to evaluate the recurrence in PyTorch; all are tested against `step_by_step.py`."""
