"""Text reports of fits and of estimates."""
