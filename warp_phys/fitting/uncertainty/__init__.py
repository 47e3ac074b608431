"""What a fit leaves open: covariance, identifiability, confidence intervals."""
