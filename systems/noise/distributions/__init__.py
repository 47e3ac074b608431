"""The noise models of the package; a file in this folder registers a noise model."""
