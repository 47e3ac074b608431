"""Text reports of fits."""
