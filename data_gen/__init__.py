"""Makes data sets from systems: draws parameters, observes with noise, stores labeled files.

The public names are listed in `__init__.pyi`; a module is imported when one of its names is first
used. Everything that is not listed there is private.
"""

import lazy_loader

if __name__ != "warp_phys.data_gen":
    raise ImportError(
        f"expected import as 'warp_phys.data_gen', got {__name__!r}; "
        "write 'from warp_phys.data_gen import ...'"
    )

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
