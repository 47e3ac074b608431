"""Results of fits: collection block by block, labeling, and reading them back."""
