"""What every test relies on."""

import os

import matplotlib as mpl
from hypothesis import settings

# No test opens a window, whatever the machine has.
mpl.use("agg")

# A busy machine fails no test, and a change is judged by the same examples each time.
settings.register_profile("warp-phys", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("warp-phys")
