"""What every test relies on."""

import contextlib
import os

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings

# No test opens a window, whatever the machine has.
mpl.use("agg")

# A busy machine fails no test, and a change is judged by the same examples each time.
settings.register_profile("warp-phys", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("warp-phys")

# Triton decides when kernels are defined whether it interprets them, and other tests import all
# modules before ours of the kernels are collected.
with pytest.MonkeyPatch.context() as patch, contextlib.suppress(ImportError):
    if not torch.cuda.is_available():
        patch.setenv("TRITON_INTERPRET", "1")
    import warp_phys.recurrence.kernels.triton_dense
    import warp_phys.recurrence.kernels.triton_diagonal  # noqa: F401
