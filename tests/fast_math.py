#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that fast math is refused: python3 tests/fast_math.py COMPILER...

Each argument is one C++ compiler command ("g++", "clang++-19"). Flags that leave a macro must stop the compilation with
our text, flags that leave none must make the start-up probe throw, and so must an object built with -ffast-math that
sets flush-to-zero for the whole program. Harmless flags must pass. Exit: 0 good, 1 bad, 77 no compiler applies.
"""

import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROBE = """
#include <cstdio>
#include "moepar/core/ieee.hpp"
int main() {
  try {
    moepar::require_ieee_arithmetic();
  } catch (const moepar::Error& error) {
    std::puts(error.what());
    return 3;
  }
  std::puts("IEEE arithmetic");
}
"""
MACRO_TEXT = "moepar: fast math changes results"
HARMLESS = ["-O0", "-O3", "-O3 -ffp-contract=fast", "-O3 -fno-math-errno -fno-trapping-math"]


def run(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


class Checker:
    def __init__(self, compiler, folder):
        self.compiler = shlex.split(compiler)
        self.name = compiler
        self.folder = pathlib.Path(folder)
        self.failures = 0
        self.source = self.folder / "probe.cpp"
        self.source.write_text(PROBE)
        version = run(self.compiler + ["--version"]).stdout
        self.clang = "clang" in version.lower()

    def report(self, what, good, details=""):
        print(f"{'ok    ' if good else 'FAILED'}  {self.name:12}  {what}")
        if not good:
            self.failures += 1
            print("        " + details.strip().replace("\n", "\n        "))

    def compile(self, flags, more=()):
        program = self.folder / "probe"
        program.unlink(missing_ok=True)
        command = self.compiler + ["-std=c++20", "-I", str(ROOT / "include"), str(self.source), "-o", str(program)]
        return run(command + list(more) + shlex.split(flags)), program

    def refused_by_macro(self, flags):
        result, _ = self.compile("-O2 " + flags)
        good = result.returncode != 0 and MACRO_TEXT in result.stdout and "Fix:" in result.stdout
        self.report(f"{flags}: does not compile", good, result.stdout)

    def expect_probe(self, flags, status, text, more=()):
        result, program = self.compile(flags, more)
        if result.returncode != 0:
            self.report(f"{flags}: compiles", False, result.stdout)
            return
        ran = run([str(program)])
        good = ran.returncode == status and text in ran.stdout
        self.report(f"{flags}: {'passes' if status == 0 else 'the probe says: ' + text}", good, ran.stdout)

    def check(self):
        for flags in ["-ffast-math", "-Ofast", "-ffinite-math-only"]:
            self.refused_by_macro(flags)
        for flags in HARMLESS:
            self.expect_probe(flags, 0, "IEEE arithmetic")
        if self.clang:  # these leave no macro in clang
            self.expect_probe("-O2 -fno-signed-zeros", 3, "signed zeros are off")
            self.expect_probe("-O2 -freciprocal-math", 3, "division by reciprocals")
            self.expect_probe("-O2 -fassociative-math -fno-signed-zeros -fno-trapping-math", 3, "sums are reordered")
            self.expect_probe("-O2 -funsafe-math-optimizations", 3, "is not IEEE 754")  # FTZ too, where it links a mode
        else:
            for flags in ["-funsafe-math-optimizations", "-fno-signed-zeros", "-freciprocal-math"]:
                self.refused_by_macro(flags)
            self.refused_by_macro("-fassociative-math -fno-signed-zeros -fno-trapping-math")
        if platform.machine() in ("x86_64", "AMD64") and sys.platform == "linux":
            # A foreign object needs no header of ours; linking it with -ffast-math sets FTZ at program start.
            foreign = self.folder / "foreign.cpp"
            foreign.write_text("float foreign(float x) { return x * 0.5f; }\n")
            source, mine = self.folder / "foreign.o", self.folder / "mine.o"
            program = self.folder / "linked"
            for command in (
                self.compiler + ["-O2", "-ffast-math", "-c", str(foreign), "-o", str(source)],
                self.compiler + ["-std=c++20", "-O2", "-I", str(ROOT / "include"), "-c", str(self.source), "-o", str(mine)],
                self.compiler + ["-ffast-math", str(mine), str(source), "-o", str(program)],
            ):
                result = run(command)
                if result.returncode != 0:
                    self.report("a program linked with -ffast-math: builds", False, result.stdout)
                    return
            ran = run([str(program)])
            self.report("linked with -ffast-math: the probe says: FTZ",
                        ran.returncode == 3 and "flushed to zero (FTZ)" in ran.stdout and "Fix: link no" in ran.stdout,
                        ran.stdout)


def main():
    compilers = [c for c in sys.argv[1:] if shlex.split(c) and shutil.which(shlex.split(c)[0])]
    if not compilers:
        print("skipped: no compiler given that is installed")
        return 77
    failures = 0
    for compiler in compilers:
        with tempfile.TemporaryDirectory() as folder:
            checker = Checker(compiler, folder)
            checker.check()
            failures += checker.failures
    print(f"{failures} failed" if failures else "fast math is refused")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
