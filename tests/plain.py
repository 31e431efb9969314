#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles one source with one plain command, as a reader of the README would, and runs it: the exit code is the verdict.

    tests/plain.py SOURCE COMPILER [FLAG...] [-- ARGUMENT...]
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    source, compiler, *flags = sys.argv[1:]
    arguments = []
    if "--" in flags:
        at = flags.index("--")
        flags, arguments = flags[:at], flags[at + 1 :]
    if shutil.which(compiler) is None:
        print(f"skipped: {compiler} is not installed")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "program"
        threads = "-pthread"
        if pathlib.Path(compiler).name == "nvcc":  # its host side: what users compile who have GPUs
            flags, threads = [*flags, "-x", "cu"], "-Xcompiler=-pthread"
        command = [compiler, "-std=c++20", *flags, "-I", "include", source, "-o", program, threads]
        print(" ".join(map(str, command)))
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            return 1
        return subprocess.run([program, *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
