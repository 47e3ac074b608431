"""Parameters of known physics as the hidden state of a linear recurrence.

The public names are listed in `__init__.pyi`, each with the module it comes from; a module is
imported when one of its names is first used, so `import warp_phys` costs nothing. Everything that
is not listed there is private: sub-packages and their modules may change in any release.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
