#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes point downward only.

    tools/layers.py             fails when a header includes what its folder may not, or includes run in a circle
    tools/layers.py --picture   prints the folders by level: how many headers each has, which folders it includes
"""
import collections
import re
import sys

from headers import INCLUDE, PROGRAM, UMBRELLA, headers, includes, reachable

LEVELS = {
    "core": 0,
    "topology": 1, "tensor": 1,
    "device": 2,
    "comm": 3, "kernels": 3,
    "routing": 4,
    "nn": 5,
    "parallel": 6,
    "optim": 7, "data": 7, "checkpoint": 7,
    "plan": 8,
    "train": 9, "models": 9,
    "program": 10,
}  # fmt: skip
BELOW_NN = {"core", "topology", "tensor", "device", "comm", "kernels", "routing"}
BELOW_PLAN = BELOW_NN | {"nn", "parallel"}
BELOW_TOP = BELOW_PLAN | {"plan", "optim", "data", "checkpoint"}
MAY_INCLUDE = {
    "core": set(),
    "topology": {"core"},
    "tensor": {"core"},
    "device": {"core", "tensor"},
    "comm": {"core", "topology", "tensor", "device"},
    "kernels": {"core", "tensor", "device"},
    "routing": BELOW_NN - {"routing"},
    "nn": BELOW_NN,
    "parallel": BELOW_NN | {"nn"},
    "plan": BELOW_PLAN | {"optim"},
    "optim": BELOW_PLAN,
    "data": {"core"},
    "checkpoint": BELOW_NN | {"nn", "parallel", "optim"},
    "train": BELOW_TOP,
    "models": BELOW_TOP,
    "program": BELOW_TOP | {"train", "models"},
}
FREE = {"moepar/version.hpp"}  # only macros: anyone may include it
# For users: no header of ours includes one, but each of these adds to the one before it.
UMBRELLAS = ["moepar/model.hpp", UMBRELLA, "moepar/moe.cuh", PROGRAM]
OTHER_SYSTEM = {"immintrin.h", "emmintrin.h"}
PROBED = {"sys/ioctl.h", "unistd.h"}  # behind __has_include
POSIX = {"fcntl.h", "sys/mman.h", "sys/stat.h", "sys/types.h", "unistd.h"}  # files that survive: checkpoint/ only
STANDARD = re.compile(r"[a-z_0-9]+")  # <vector>, <cstdint>: no slash, no suffix


def folder(name):
    """'moepar/nn/linear.hpp' -> 'nn'; '' for the headers beside the folders."""
    parts = name.split("/")
    return parts[1] if len(parts) > 2 else ""


def problem_of(name, bracket, target):
    """Why `name` may not include `target`, or None."""
    own = target.startswith("moepar/") or (bracket == '"')
    if not own:
        return None
    if bracket == '"':
        return f'"{target}" in quotes. Fix: write <moepar/...>'
    if not (INCLUDE / target).is_file():
        return f"<{target}> does not exist"
    if target in FREE or name in UMBRELLAS and (target not in UMBRELLAS or UMBRELLAS.index(target) < UMBRELLAS.index(name)):
        return None
    if target in UMBRELLAS:
        return f"<{target}> is for users"
    upper, lower = folder(name), folder(target)
    if name in FREE:
        return f"<{target}>: version.hpp includes nothing"
    if upper != lower and lower not in MAY_INCLUDE.get(upper, set()):
        allowed = ", ".join(sorted(MAY_INCLUDE.get(upper, set()))) or "nothing of ours"
        return f"<{target}>: {upper} may include {allowed}"
    return None


def circle(graph):
    """One circle of includes as a list of headers, or None."""
    done = set()
    for start in graph:
        path, iterators = [start], [iter(graph[start])]
        while iterators and start not in done:
            target = next(iterators[-1], None)
            if target is None:
                done.add(path.pop())
                iterators.pop()
            elif target in path:
                return path[path.index(target) :] + [target]
            elif target in graph and target not in done:
                path.append(target)
                iterators.append(iter(graph[target]))
    return None


def picture(graph):
    count = collections.Counter(folder(name) for name in graph)
    edges = collections.defaultdict(set)
    for name, targets in graph.items():
        edges[folder(name)] |= {folder(target) for target in targets} - {folder(name), ""}
    width = max(map(len, LEVELS))
    lines = []
    for level in sorted(set(LEVELS.values()), reverse=True):
        for name in (name for name in LEVELS if LEVELS[name] == level and count[name]):
            below = ", ".join(sorted(edges[name], key=list(LEVELS).index, reverse=True))
            shown = f"-> {below}" if below else "the standard library"
            lines.append(f"{level}  {name:{width}} {count[name]:3}  {shown}")
    return "\n".join(lines)


def main():
    names = headers()
    found = {name: includes(INCLUDE / name) for name in names}
    graph = {name: [target for _, _, target in found[name] if target.startswith("moepar/")] for name in names}
    if sys.argv[1:] == ["--picture"]:
        print(picture(graph))
        return 0
    problems = []
    served = reachable(UMBRELLA)
    for name in names:
        if folder(name) not in LEVELS and name not in FREE.union(UMBRELLAS):
            problems.append(f"include/{name}: no level is given for its folder")
        for number, bracket, target in found[name]:
            why = problem_of(name, bracket, target)
            if why is None and name in served and not target.startswith("moepar/"):
                allowed = OTHER_SYSTEM | (POSIX if folder(name) == "checkpoint" else PROBED)
                if not STANDARD.fullmatch(target) and target not in allowed:
                    why = f"<{target}>: {UMBRELLA} needs nothing but the standard library"
            if why:
                problems.append(f"include/{name}:{number}: {why}")
    ring = circle(graph)
    if ring:
        problems.append("includes run in a circle: " + " -> ".join(ring))
    for problem in problems:
        print(problem)
    edges = sum(map(len, graph.values()))
    verdict = f"{len(problems)} problems" if problems else "all point downward"
    print(f"{len(names)} headers, {edges} includes: {verdict}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
