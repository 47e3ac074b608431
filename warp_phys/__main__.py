"""`python -m warp_phys`: the command line, also where the script `warp-phys` is not installed."""

import pkgutil

if __name__ == "__main__":
    # By name, as the script's entry point is declared: the package itself imports no sub-package.
    pkgutil.resolve_name("warp_phys.command_line.main:main")()
