"""Versions of the package and its libraries, and the engines in use, for bug reports."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

import warp_phys
from warp_phys.recurrence.kernels.library import why_not
from warp_phys.systems.compiling.compiler import _version, compiler

_PACKAGES = ("numpy", "scipy", "torch", "torchdiffeq", "xarray", "h5netcdf", "h5py", "dask")
_OPTIONAL = ("distributed", "matplotlib", "triton")


def show_versions() -> None:
    """Print the versions of this package and its libraries, and which engines are used.

    The compiled kernels of the recurrence and of the integrators need a C++ compiler. Without one,
    PyTorch and SciPy compute the same, more slowly; the output shows which is the case.

    Example:
        >>> show_versions()  # doctest: +ELLIPSIS
        warp-phys: ...
    """
    sys.stdout.write("".join(f"{name}: {value}\n" for name, value in _facts().items()))


def _facts() -> dict[str, str]:
    facts = {
        "warp-phys": warp_phys.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    facts |= {name: _installed(name) for name in (*_PACKAGES, *_OPTIONAL)}
    facts["threads"] = str(torch.get_num_threads())
    facts["compiler"] = _compiler()
    facts["recurrence on the CPU"] = _recurrence()
    facts["recurrence on a GPU"] = _gpu()
    return facts


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _compiler() -> str:
    program = compiler()
    if program is None:
        return "none"
    return " ".join(_version(program).splitlines()[:1])


def _recurrence() -> str:
    reason = why_not("small")
    return f"PyTorch ({reason})" if reason else "compiled kernels"


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "no GPU"
    engine = "PyTorch" if _installed("triton") == "not installed" else "Triton kernels"
    return f"{engine} on {torch.cuda.get_device_name()}"
