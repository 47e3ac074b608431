"""The package's files in a checkout, whatever its layout, and the imports between them."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from graphs import Graph, floors_of

PACKAGES = ("warp_phys", "systems", "data_gen")
DOORS = ("warp_phys", "warp_phys.systems", "warp_phys.data_gen")
NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Source:
    """A file of the package.

    Attributes:
        place: Where it lies, from the root of the checkout.
        text: What it holds.
    """

    place: PurePosixPath
    text: str

    @property
    def n_lines(self) -> int:
        """Number of lines."""
        return len(self.text.splitlines())


class Module(Source):
    """A Python file."""

    @cached_property
    def name(self) -> str:
        """The name under which it is imported."""
        parts = [part for part in self.place.with_suffix("").parts if part != "__init__"]
        return ".".join(parts if parts[0] == "warp_phys" else ["warp_phys", *parts])

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @cached_property
    def tokens(self) -> list[tokenize.TokenInfo]:
        """The tokens, comments included."""
        return list(tokenize.generate_tokens(io.StringIO(self.text).readline))

    @cached_property
    def n_comments(self) -> int:
        """Number of comments."""
        return sum(token.type == tokenize.COMMENT for token in self.tokens)

    @cached_property
    def code_lines(self) -> set[int]:
        """The numbers of the lines that hold code."""
        lines = {
            line
            for token in self.tokens
            if token.type not in NO_CODE
            for line in range(token.start[0], token.end[0] + 1)
        }
        for node in ast.walk(self.tree):
            if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
                docstring = node.body[0]
                lines -= set(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
        return lines

    def function_sizes(self) -> Iterator[tuple[int, str]]:
        """Yield the code lines and the name of every function and method."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                span = range(node.lineno, (node.end_lineno or 0) + 1)
                yield len(self.code_lines.intersection(span)), node.name

    def imports(self) -> Iterator[tuple[str, str]]:
        """Yield (module, name) of every import statement, the name empty for `import module`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                package = (
                    self.name if self.place.stem == "__init__" else self.name.rpartition(".")[0]
                )
                parts = package.split(".")[: -node.level + 1 or None] if node.level else []
                home = ".".join([*parts, *filter(None, [node.module])])
                yield from ((home, alias.name) for alias in node.names)


class Checkout:
    """The package's files below the root of a checkout, and the arrows between them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = {module.name: module for module in self._read(Module, "*.py")}
        self.cpp = list(self._read(Source, "*.cpp"))
        self._homes = {door: dict(self._exports(door)) for door in DOORS}

    def _read(self, kind: type[Source], pattern: str) -> Iterator[Source]:
        for package in PACKAGES:
            for path in sorted((self.root / package).rglob(pattern)):
                place = PurePosixPath(path.relative_to(self.root).as_posix())
                if package != "warp_phys" or place.parts[1] not in PACKAGES:
                    yield kind(place, path.read_text(encoding="utf-8"))

    def _exports(self, door: str) -> Iterator[tuple[str, str]]:
        """Yield (public name, module where it lives) of one of the three packages."""
        for module in self.modules.values():  # what is found by its file alone: shipped systems
            if module.name.startswith(f"{door}."):
                classes = (node for node in module.tree.body if isinstance(node, ast.ClassDef))
                yield from ((node.name, module.name) for node in classes)
        for listed in self._lists_of_names(self.modules[door]):
            yield from ((name, home) for home, name in listed.imports() if home in self.modules)

    def _lists_of_names(self, door: Module) -> Iterator[Module]:
        stub = self.root / door.place.with_suffix(".pyi")
        if stub.is_file():
            yield Module(door.place, stub.read_text(encoding="utf-8"))
        for node in door.tree.body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                yield Module(door.place, ast.unparse(node))

    def targets(self, module: Module) -> Iterator[str]:
        """Yield the modules of the package that a module imports."""
        for home, name in module.imports():
            public = self._homes.get(home, {})
            if name in public:
                yield public[name]
            elif f"{home}.{name}" in self.modules:
                yield f"{home}.{name}"
            elif home in self.modules:
                yield home

    def imports_private(self, module: Module) -> bool:
        """Whether a module imports from another one than the three packages."""
        return any(
            name not in self._homes.get(home, {})
            and {home, f"{home}.{name}"} & set(self.modules) - set(DOORS)
            for home, name in module.imports()
        )

    @cached_property
    def arrows(self) -> Graph:
        """Module -> modules that it imports."""
        arrows = {name: set(self.targets(module)) - {name} for name, module in self.modules.items()}
        for door in DOORS:
            listed = {
                target
                for part in self._lists_of_names(self.modules[door])
                for target in self.targets(part)
            }
            arrows[door] -= listed
        return arrows

    @cached_property
    def folder_arrows(self) -> Graph:
        """Folder -> folders that its modules import from."""
        graph: Graph = {self.folder(name): set() for name in self.modules}
        for name, targets in self.arrows.items():
            graph[self.folder(name)] |= {self.folder(target) for target in targets}
        return {folder: targets - {folder} for folder, targets in graph.items()}

    def folder(self, module: str) -> str:
        """Return the folder that a module lies in, at most one below its package."""
        return "/".join(self.modules[module].place.parent.parts[:2])

    @cached_property
    def files(self) -> list[Source]:
        """All files; an `__init__.py` only where it holds more than a docstring."""
        python = [
            module
            for module in self.modules.values()
            if module.place.stem != "__init__" or len(module.tree.body) > 1
        ]
        return [*python, *self.cpp]

    @cached_property
    def floors(self) -> dict[str, int]:
        """File -> floor, for Python files."""
        floors = floors_of(self.arrows)
        return {str(self.modules[name].place): floor for name, floor in floors.items()}
