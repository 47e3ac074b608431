"""The same data set gives the same bytes, whoever looks on."""

from __future__ import annotations

import random
import sys
import threading
import time

import numpy as np
import pytest

from warp_phys.data_gen import simulate
from warp_phys.systems import DampedOscillator
from warp_phys.systems.schema.netcdf_bytes import image


@pytest.fixture
def profiler():
    """Look at every thread's frames now and then, as the profiler of dask's workers does."""
    done = threading.Event()
    pauses = random.Random(0)

    def sample():
        while not done.is_set():
            frames = sys._current_frames()
            time.sleep(pauses.random() ** 3 * 0.01)
            del frames

    thread = threading.Thread(target=sample)
    thread.start()
    yield
    done.set()
    thread.join()


def test_a_profiler_does_not_change_the_file(profiler):
    data = simulate(DampedOscillator(), n=12, times=np.linspace(0, 2, 5), seed=3)
    assert len({bytes(image(data)) for _ in range(80)}) == 1
