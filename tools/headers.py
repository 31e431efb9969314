#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The list of headers, and what every header owes its reader.

    tools/headers.py --write   writes include/headers.txt, which Meson and CMake read
    tools/headers.py --check   fails when the list is stale or a header breaks a habit
"""
import pathlib
import re
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
LIST = INCLUDE / "headers.txt"
UMBRELLA = "moepar/moe.hpp"
PROGRAM = "moepar/model_program.hpp"  # what a compiled model program includes besides
# Included by name: they need more than the standard library, or are for tools.
BY_NAME = (
    "moepar/checkpoint/",
    "moepar/comm/simulated/",
    "moepar/data/",
    "moepar/models/",
    "moepar/train/json_line_reader.hpp",
    "moepar/train/metrics_log.hpp",
)
LONGEST, LONGEST_MEDIAN = 400, 120  # lines
DIRECTIVE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def headers(include=INCLUDE):
    """All headers, sorted, relative to include/."""
    found = (path for path in include.rglob("*") if path.suffix in (".hpp", ".cuh"))
    return sorted(path.relative_to(include).as_posix() for path in found)


def includes(path):
    """[(line number, bracket, what is included)] of one file."""
    matches = ((number, DIRECTIVE.match(line)) for number, line in enumerate(path.read_text().splitlines(), 1))
    return [(number, match[1], match[2]) for number, match in matches if match]


def reachable(start, include=INCLUDE):
    """Every header of ours that including `start` reads."""
    seen, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in seen or not (include / name).is_file():
            continue
        seen.add(name)
        waiting += [target for _, _, target in includes(include / name)]
    return seen


def text_of(names):
    return "".join(f"{name}\n" for name in names)


def problems_of(names):
    found = []
    if not LIST.exists() or LIST.read_text() != text_of(names):
        found.append("include/headers.txt is stale. Fix: run tools/headers.py --write")
    for name in names:
        lines = (INCLUDE / name).read_text().splitlines()
        if not lines or lines[0] != "// SPDX-License-Identifier: Apache-2.0":
            found.append(f"include/{name}:1: the first line is not '// SPDX-License-Identifier: Apache-2.0'")
        if "#pragma once" not in lines:
            found.append(f"include/{name}: no '#pragma once'")
        if len(lines) > LONGEST and not any(line.startswith("// Length: ") for line in lines):
            found.append(f"include/{name}: {len(lines)} lines, more than {LONGEST}, and no line '// Length: why'")
    served = reachable(UMBRELLA) | reachable(PROGRAM)
    for name in names:
        # Device headers need nvcc, and what is in a detail folder is for other headers.
        if name in served or name.endswith(".cuh") or name.startswith(BY_NAME):
            continue
        if "detail" not in pathlib.PurePath(name).parts:
            found.append(f"include/{name}: not reachable from {UMBRELLA}")
    return found


def main():
    names = headers()
    if sys.argv[1:] == ["--write"]:
        LIST.write_text(text_of(names))
        print(f"{LIST.relative_to(ROOT)}: {len(names)} headers")
        return 0
    if sys.argv[1:] != ["--check"]:
        print(__doc__)
        return 1
    problems = problems_of(names)
    lengths = [len((INCLUDE / name).read_text().splitlines()) for name in names]
    median = statistics.median(lengths) if lengths else 0
    if not lengths or median > LONGEST_MEDIAN:
        problems.append(f"the median header has {median:g} lines, more than {LONGEST_MEDIAN}")
    for problem in problems:
        print(problem)
    state = f"{len(problems)} problems" if problems else "in order"
    print(f"{len(names)} headers, median {median:g} lines, longest {max(lengths, default=0)}: {state}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
