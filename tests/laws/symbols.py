#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks into a program that trains: no elementary function of the C library, no approximate reciprocals.

    tests/laws/symbols.py PROGRAM

The C library's exp differs between libraries and versions, rcp and rsqrt between vendors: bits would too.
"""
import re
import shutil
import subprocess
import sys

FUNCTION = re.compile(r"\b(exp|exp2|expm1|log|log2|log10|log1p|pow|sin|cos|sincos|tan|tanh|erf|cbrt)[fl]?(@\S+)?$")
VECTOR_FUNCTION = re.compile(r"_ZGV\w+|\b__svml\w+")
INSTRUCTION = re.compile(r"\s(v?rcp(14|28)?[ps]s|v?rsqrt(14|28)?[ps]s)\s")


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def main():
    if not (shutil.which("nm") and shutil.which("objdump")):
        print("skipped: nm and objdump are not installed")
        return 77
    program = sys.argv[1]
    symbols = output("nm", "-u", program)
    wrong = [line.strip() for line in symbols if FUNCTION.search(line) or VECTOR_FUNCTION.search(line)]
    code = output("objdump", "-d", "--no-show-raw-insn", program)
    wrong += sorted({match[1] for match in map(INSTRUCTION.search, code) if match})
    if not any("fma" in line for line in code):
        wrong.append("no fma at all: this is not the program")
    for line in wrong:
        print(f"found: {line}")
    print(f"{len(symbols)} undefined symbols, {len(code)} lines of code: {len(wrong)} that may differ between machines")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
