#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every test and example is named where it is run: the lists in meson.build are explicit, so a file that
is in no list would pass by never running.

    tools/listed.py
"""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is looked for, in which build file, under which name.
LISTS = [
    ("tests/static/**/*.cpp", "tests/meson.build", lambda path: path.relative_to(ROOT / "tests").as_posix()),
    ("tests/unit/**/*.cpp", "tests/meson.build", lambda path: path.relative_to(ROOT / "tests").as_posix()),
    ("tests/laws/*.cpp", "tests/meson.build", lambda path: path.relative_to(ROOT / "tests").as_posix()),
    ("tests/parity/*.cpp", "tests/meson.build", lambda path: path.relative_to(ROOT / "tests").as_posix()),
    ("tests/compile_fail/*.cpp", "tests/meson.build", lambda path: path.stem),
    ("examples/*.cpp", "examples/meson.build", lambda path: path.stem),
    ("examples/*.cpp", "tests/meson.build", lambda path: path.stem),
]


def main():
    problems, checked = [], 0
    for pattern, build_file, name_of in LISTS:
        text = (ROOT / build_file).read_text()
        for path in sorted(ROOT.glob(pattern)):
            checked += 1
            if f"'{name_of(path)}'" not in text:
                problems.append(f"{path.relative_to(ROOT)} is in no list of {build_file}. Fix: add '{name_of(path)}'")
    for problem in problems:
        print(problem)
    print(f"{checked} entries: {f'{len(problems)} missing' if problems else 'all listed'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
