"""What `show_versions` tells."""

from collections.abc import Callable

import pytest

import warp_phys as wp


def test_it_names_versions_and_engines(capsys: pytest.CaptureFixture[str]) -> None:
    wp.show_versions()
    facts = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["warp-phys"] == wp.__version__
    assert facts["recurrence on the CPU"] == "compiled kernels"
    assert facts["torch"].startswith("2.")


def test_it_says_why_there_are_no_kernels(
    capsys: pytest.CaptureFixture[str], without_compiler: Callable[[], None]
) -> None:
    without_compiler()
    wp.show_versions()
    printed = capsys.readouterr().out
    assert "recurrence on the CPU: PyTorch (expected a C++ compiler" in printed
    assert "compiler: none" in printed
