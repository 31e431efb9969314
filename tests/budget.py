#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Counts what a program costs to compile: the class and function templates that clang instantiates.

    tests/budget.py           fails when a workload costs over 3 % more than tests/budget/budget.json says
    tests/budget.py --write   records the counts as they are: a higher budget is a commit of its own, which says why

include_only.cpp is the header without a program; the programs are counted beyond it.
NAME_large.cpp, a larger model on more ranks, must cost exactly what NAME.cpp costs. Counts belong to one clang and one
standard library; with others only these pairs are compared. Exit: 0 good, 1 bad, 77 no clang.
"""
import json
import pathlib
import re
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from compilers import ROOT, find, newest_clang, run, run_all  # noqa: E402

WORKLOADS = ROOT / "tests" / "budget"
BUDGET = WORKLOADS / "budget.json"
TOLERANCE = 0.03
BASE = "include_only"
COUNTED = {"InstantiateClass", "InstantiateFunction"}


def standard_library(clang):
    """'libstdc++ 12', or '' for one that does not say."""
    macros = run([clang.path, "-std=c++20", "-x", "c++", "-include", "cstddef", "-dM", "-E", "/dev/null"])[1]
    match = re.search(r"#define _GLIBCXX_RELEASE (\d+)", macros)
    return f"libstdc++ {match[1]}" if match else ""


def count(clang, sources):
    """{workload: instantiations}, or None after printing why one does not compile."""
    with tempfile.TemporaryDirectory() as folder:
        objects = {source.stem: pathlib.Path(folder) / f"{source.stem}.o" for source in sources}
        flags = ["-std=c++20", "-I", "include", "-ftime-trace", "-ftime-trace-granularity=0", "-c"]
        answers = run_all([clang.path, *flags, source, "-o", objects[source.stem]] for source in sources)
        broken = [output for status, output in answers if status]
        if broken:
            print("\n".join(broken))
            return None
        counts = {}
        for name, path in objects.items():
            trace = json.loads(path.with_suffix(".json").read_text())
            counts[name] = sum(event["name"] in COUNTED for event in trace["traceEvents"])
        base = counts[BASE]  # a few hundred of our own would drown in the thousands of the standard library
        return {name: number if name == BASE else number - base for name, number in counts.items()}


def main():
    if sys.argv[1:] not in ([], ["--write"]):
        print(__doc__)
        return 1
    budget = json.loads(BUDGET.read_text()) if BUDGET.exists() else {}
    recorded = find(f"clang++-{budget.get('clang', 0)}")[0]
    clang = newest_clang() if sys.argv[1:] else recorded or newest_clang()
    if clang is None:
        print("skipped: no clang++-16 or later is installed")
        return 77
    measured_with = {"clang": int(clang.version.split(".")[0]), "standard library": standard_library(clang)}
    counts = count(clang, sorted(WORKLOADS.glob("*.cpp")))
    if not counts:
        print("a workload of tests/budget does not compile")
        return 1
    problems = []
    for name in counts:
        large = counts.get(f"{name}_large", counts[name])
        if large != counts[name]:
            problems.append(f"{name}_large costs {large}, {name} {counts[name]}: size has a cost")
    if sys.argv[1:]:
        BUDGET.write_text(json.dumps({**measured_with, "counts": counts}, indent=2) + "\n")
        budget = {}
    comparable = all(budget.get(key) == value for key, value in measured_with.items())
    if comparable:
        allowed = budget["counts"]
        for name in sorted(set(counts) ^ set(allowed)):
            problems.append(f"{name} stands in one of tests/budget and budget.json only. Fix: tests/budget.py --write")
        for name in sorted(set(counts) & set(allowed)):
            if counts[name] > allowed[name] * (1 + TOLERANCE):
                problems.append(
                    f"{name} costs {counts[name]}, over 3 % more than its budget of {allowed[name]}. "
                    "Fix: find what is instantiated anew, or run tests/budget.py --write and commit that alone with why"
                )
    for problem in problems:
        print(problem)
    shown = ", ".join(f"{name} {number}" for name, number in counts.items())
    state = "within budget" if comparable else "pairs equal, the budget is of another compiler"
    if sys.argv[1:]:
        state = "recorded"
    if problems:
        state = f"{len(problems)} problems"
    print(f"instantiations, clang {clang.version}, {measured_with['standard library']}: {shown}: {state}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
