"""Folders of a small sharded data set, finished and not."""

import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests.data_gen.storing.sharded import lose, make


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        yield executor


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a data set made without interruption."""
    folder = tmp_path_factory.mktemp("finished") / "set"
    make(folder)
    return folder


@pytest.fixture
def unfinished(finished, tmp_path):
    """A folder in which two of five shards were never made."""
    folder = tmp_path / "set"
    shutil.copytree(finished, folder)
    lose(folder, 2, 4)
    return folder
