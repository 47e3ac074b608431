"""Sending work: everything arrives, never too much at once, and failures lose nothing."""

import os
import signal
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from tests.data_gen.storing.sharded import contents, make
from warp_phys.data_gen import ShardError, simulate
from warp_phys.data_gen.storing.dispatch import WorkFailedError, results
from warp_phys.systems import Parameter, State, System, UsageError


def square(number: int) -> int:
    if number == 13:
        raise ZeroDivisionError("thirteen")
    return number**2


def pieces(*numbers):
    return [(number, lambda number=number: (number,)) for number in numbers]


class Eager(ThreadPoolExecutor):
    """Threads that remember how many pieces were under way."""

    def __init__(self, workers):
        super().__init__(workers)
        self.open, self.most = set(), 0

    def submit(self, function, /, *arguments):
        future = super().submit(function, *arguments)
        self.open = {one for one in self.open if not one.done()} | {future}
        self.most = max(self.most, len(self.open))
        return future


class Suicidal(System):
    """A system that kills the process in which its right-hand side is called."""

    states = (State("y", "1"),)
    parameters = (Parameter("rate", "1", range=(0.0, 1.0)),)

    def rhs(self, t, y, p):
        return (p.rate * y[0],)

    def solution(self, t, y0, p):
        if "WORKER" in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return (y0[0],)


def mark_worker() -> None:
    os.environ["WORKER"] = "1"


class TestResults:
    @pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(2)])
    def test_everything_arrives(self, executor):
        found = dict(results(square, pieces(*range(10), *range(20, 300)), executor))
        assert found == {number: number**2 for number in (*range(10), *range(20, 300))}
        assert dict(results(square, [], executor)) == {}

    def test_never_too_much_at_once(self):
        executor = Eager(3)
        assert len(list(results(square, pieces(*range(100, 300)), executor))) == 200
        assert 3 <= executor.most <= 12

    @pytest.mark.parametrize("executor", [None, ThreadPoolExecutor(1)])
    def test_a_failure_comes_after_what_succeeded(self, executor):
        found = []
        with pytest.raises(WorkFailedError) as failure:
            found.extend(results(square, pieces(11, 12, 13, 14, *range(100, 200)), executor))
        assert failure.value.number == 13
        assert isinstance(failure.value.__cause__, ZeroDivisionError)
        assert not set(range(120, 200)) & {number for number, _ in found}

    def test_what_has_not_begun_is_taken_back(self):
        begun, gate = [], threading.Event()

        def work(number):
            begun.append(number)
            gate.wait(5)
            if number == 0:
                raise ValueError(number)
            return number

        threading.Timer(0.1, gate.set).start()
        found = []
        with ThreadPoolExecutor(2) as executor, pytest.raises(WorkFailedError):
            found.extend(results(work, pieces(*range(900)), executor))
        assert len(begun) < 300
        assert {number for number, _ in found} == set(begun) - {0}

    def test_a_cancelled_piece_is_a_failure(self):
        class Closing(ThreadPoolExecutor):
            def submit(self, function, /, *arguments):
                future = Future()
                future.cancel()
                future.set_running_or_notify_cancel()
                return future

        with pytest.raises(WorkFailedError):
            list(results(square, pieces(1, 2), Closing(1)))

    def test_something_else_is_no_executor(self):
        with pytest.raises(UsageError, match=r"expected executor as .*, got 'dask'"):
            results(square, pieces(1), "dask")


def test_a_worker_that_dies_ends_it_with_an_intact_set(tmp_path):
    context = get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=context, initializer=mark_worker)
    with pool, pytest.raises(ShardError) as error:
        simulate(Suicidal(), 20, [0.0, 1.0], seed=0, output=tmp_path, executor=pool)
    assert "a worker process ended while shard 0 (trajectories 0 to 19)" in str(error.value)
    assert "0 of 1 shards are done and intact; the same call" in str(error.value)
    data = simulate(Suicidal(), 20, [0.0, 1.0], seed=0, output=tmp_path)
    assert np.isfinite(data.observed.values).all()


def test_a_cluster_that_loses_a_worker_makes_the_same_set(tmp_path):
    """A real cluster of two processes, of which one is killed while it works."""
    distributed = pytest.importorskip("distributed")
    make(tmp_path / "serial", n=160)
    folder, made_before = tmp_path / "cluster", []

    def kill(victim):
        while (made := len(list(folder.glob("shard-*.nc")))) < 3:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        made_before.append(made)

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        victim = client.run(os.getpid).popitem()[1]
        killer = threading.Thread(target=kill, args=(victim,))
        killer.start()
        make(folder, n=160, executor=client.get_executor())
        killer.join()
    assert made_before[0] < 16
    assert contents(folder) == contents(tmp_path / "serial")
