"""What `show_versions` tells."""

import pytest

import warp_phys as wp
from warp_phys._recurrence._kernel import forget


def test_it_names_versions_and_engines(capsys: pytest.CaptureFixture[str]) -> None:
    wp.show_versions()
    facts = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert facts["warp-phys"] == wp.__version__
    assert facts["recurrence on the CPU"] == "compiled kernels"
    assert facts["torch"].startswith("2.")


def test_it_says_why_there_are_no_kernels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WARP_PHYS_COMPILER", "none")
    forget()
    wp.show_versions()
    forget()
    printed = capsys.readouterr().out
    assert "recurrence on the CPU: PyTorch (expected a C++ compiler" in printed
    assert "compiler: none" in printed
