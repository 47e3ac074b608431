"""Networks whose weights are the states of a recurrence, evaluated without forming them."""
