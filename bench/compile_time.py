#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how long programs take to compile: wall seconds, the best of three, one compiler at a time.

    bench/compile_time.py [--json FILE]

Beside the programs of tests/budget stand an empty source and one that only includes moepar/moe.hpp. The limits are
those the library promises for the programs; nothing fails here, since a clock belongs to a machine.
"""
import json
import os
import pathlib
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
from compilers import find, newest_clang, run  # noqa: E402

RUNS = 3
LIMITS = {"g++": 3.0, "nvcc": 10.0}  # seconds


def command(compiler, source):
    kind = ["-x", "cu"] if compiler.kind == "nvcc" else ["-O0"]
    return [compiler.path, "-std=c++20", *kind, "-I", "include", "-c", source, "-o", os.devnull]


def seconds(words):
    """Wall seconds, or None when it does not compile."""
    start = time.perf_counter()
    status, output = run(words)
    if status:
        print(output)
        return None
    return time.perf_counter() - start


def main():
    if sys.argv[1:] and (len(sys.argv) != 3 or sys.argv[1] != "--json"):
        print(__doc__)
        return 1
    compilers = [compiler for compiler in (find("g++")[0], newest_clang(), find("nvcc")[0]) if compiler]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        empty, include_only = pathlib.Path(folder) / "empty.cpp", pathlib.Path(folder) / "include_only.cpp"
        empty.write_text("")
        include_only.write_text("#include <moepar/moe.hpp>\n")
        budget = ROOT / "tests" / "budget"
        sources = {
            "empty": empty,
            "include only": include_only,
            "program": budget / "program.cpp",
            "mixtral": budget / "mixtral.cpp",
        }
        print(f"{'compiler':20} {'source':14} {'seconds':>8} {'limit':>8} {'share':>7}")
        for compiler in compilers:
            for name, source in sources.items():
                times = [seconds(command(compiler, source)) for _ in range(RUNS)]
                best = None if None in times else min(times)
                limit = LIMITS.get(compiler.kind) if source.parent == budget else None
                title = f"{compiler.name} {compiler.version}"
                rows.append({"compiler": title, "source": name, "seconds": best, "limit": limit})
                shown = "failed" if best is None else f"{best:.2f}"
                share = f"{limit:8.0f} {100 * best / limit:5.0f} %" if limit and best else ""
                print(f"{title:20} {name:14} {shown:>8} {share}", flush=True)
    if sys.argv[1:]:
        pathlib.Path(sys.argv[2]).write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
