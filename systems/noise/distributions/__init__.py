"""The noise models that come with the package; a file in here is all their registration."""
