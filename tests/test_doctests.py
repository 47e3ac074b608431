"""The examples in the docstrings, each as a test of its own."""

import doctest
import importlib
import pkgutil

import pytest

import warp_phys


def examples() -> list[doctest.DocTest]:
    """Return the docstrings with examples of every module of the three packages.

    An example sees the functions and classes that its own module defines, but not what the module
    imports: whoever copies it has only what is printed.
    """
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = []
    for info in pkgutil.walk_packages(warp_phys.__path__, "warp_phys."):
        module = importlib.import_module(info.name)
        own = {
            name: value
            for name, value in vars(module).items()
            if getattr(value, "__module__", None) == info.name
        }
        found += finder.find(module, info.name, globs=own | {"__name__": info.name})
    return sorted((one for one in found if one.examples), key=lambda one: one.name)


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example_runs_as_printed(example: doctest.DocTest) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST)
    output: list[str] = []
    runner.run(example, out=output.append)
    if runner.failures:
        pytest.fail("".join(output), pytrace=False)
