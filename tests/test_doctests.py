"""The examples in the docstrings, each as a test of its own."""

import doctest
import importlib
import pkgutil

import pytest

import warp_phys


def examples() -> list[doctest.DocTest]:
    """Return the docstrings with examples of every module of the three packages."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    names = [info.name for info in pkgutil.walk_packages(warp_phys.__path__, "warp_phys.")]
    found = [
        example
        for name in sorted(names)
        for example in finder.find(importlib.import_module(name), name)
    ]
    return [example for example in found if example.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example_runs_as_printed(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    output: list[str] = []
    runner.run(example, out=output.append)
    if runner.failures:
        pytest.fail("".join(output), pytrace=False)
