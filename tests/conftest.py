"""What every test relies on."""

import matplotlib as mpl

# No test opens a window, whatever the machine has.
mpl.use("agg")
