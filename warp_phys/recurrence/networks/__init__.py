"""Networks whose weights are the states of a recurrence, evaluated without storing all states."""
