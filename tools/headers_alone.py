#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles every header alone, included twice, with all warnings as errors.

    tools/headers_alone.py COMPILER...      g++ clang++-16 clang++-19 nvcc

A .cuh needs nvcc; other compilers leave it out. Exit: 0 good, 1 bad, 77 none of the compilers is installed.
"""
import pathlib
import sys
import tempfile

from compilers import check_command, find, run_all
from headers import PROGRAM, UMBRELLA, headers, reachable


def command_of(compiler, name, served):
    command = check_command(compiler, strict=True)
    if compiler.kind == "nvcc" and name in served:
        # nvcc's own front end only, a quarter of the time: what the host compiler says to nvcc's code shows in the
        # umbrella, which holds these headers and is compiled to the end.
        command[command.index("-c")] = "-ptx"
    return command


def main():
    if not sys.argv[1:]:
        print(__doc__)
        return 1
    compilers, absent = [], []
    for name in sys.argv[1:]:
        compiler, why = find(name)
        compilers += [compiler] if compiler else []
        absent += [] if compiler else [why]
    # One clang reads each header alone; further ones what holds them all.
    seen = set()
    further = {c.name for c in compilers if c.kind != "nvcc" and (c.kind in seen or seen.add(c.kind))}
    names, served = headers(), reachable(UMBRELLA) - {UMBRELLA}
    # What needs more than the standard library is of tools, which no device compiler builds.
    device = served | {UMBRELLA} | {name for name in names if name.endswith(".cuh") or "/simulated/" in name}
    jobs = []
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(names):
            source = pathlib.Path(folder) / f"{number}.cpp"
            source.write_text(f"#include <{name}>\n#include <{name}>\n")
            jobs += [
                (name, compiler, [*command_of(compiler, name, served), source])
                for compiler in compilers
                if (compiler.name not in further or name in (UMBRELLA, PROGRAM))
                and (name in device if compiler.kind == "nvcc" else not name.endswith(".cuh"))
            ]
        answers = run_all(command for _, _, command in jobs)
    failures = 0
    for (name, compiler, _), (status, output) in zip(jobs, answers):
        if status:
            failures += 1
            print(f"include/{name} with {compiler.name}:\n{output}")
    asked = ", ".join(f"{compiler.name} {compiler.version}" for compiler in compilers)
    skipped = f"; skipped: {', '.join(absent)}" if absent else ""
    if not jobs:
        print(f"skipped: {', '.join(absent) or 'no headers'}")
        return 77
    print(f"{len(names)} headers alone, {asked}: {f'{failures} fail' if failures else 'all compile'}{skipped}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
