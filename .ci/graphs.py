"""Floors and circles of a graph: node -> nodes that it points to."""

from __future__ import annotations

Graph = dict[str, set[str]]


def reachable(graph: Graph) -> Graph:
    """Return what every node leads to, directly or through others."""
    found: Graph = {}
    for start in graph:
        seen: set[str] = set()
        waiting = [*graph[start]]
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += graph[node]
        found[start] = seen
    return found


def circles(graph: Graph) -> set[frozenset[str]]:
    """Return the sets of nodes that all lead back to each other."""
    reach = reachable(graph)
    return {
        frozenset(other for other in reach[node] if node in reach[other])
        for node in graph
        if node in reach[node]
    }


def floors_of(graph: Graph) -> dict[str, int]:
    """Return the floor of every node; nodes in a circle share one."""
    together = {node: circle for circle in circles(graph) for node in circle}
    floors: dict[str, int] = {}

    def floor(node: str) -> int:
        group = together.get(node, frozenset([node]))
        if node not in floors:
            below = {target for member in group for target in graph[member]} - group
            height = max((floor(target) + 1 for target in below), default=0)
            floors.update(dict.fromkeys(group, height))
        return floors[node]

    return {node: floor(node) for node in graph}


def arrows_back_up(graph: Graph) -> list[tuple[str, str]]:
    """Return the arrows that close a circle in a depth-first walk in alphabetical order."""
    back: list[tuple[str, str]] = []
    done: set[str] = set()

    def visit(node: str, path: tuple[str, ...]) -> None:
        for target in sorted(graph[node]):
            if target in (*path, node):
                back.append((node, target))
            elif target not in done:
                visit(target, (*path, node))
        done.add(node)

    for node in sorted(graph):
        if node not in done:
            visit(node, ())
    return back
