"""The result of a fit: collected block by block, labeled, read back."""
