#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares every place that states the version: header, Meson, CMake, CITATION.cff, CHANGELOG.md, what Meson generated.

    tools/version.py ROOT [BUILD]
"""
import pathlib
import re
import sys

if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
root = pathlib.Path(sys.argv[1])
header = root / "include/moepar/version.hpp"
cmake = root / "CMakeLists.txt"


def find(path, pattern):
    match = re.search(pattern, path.read_text(), re.M | re.S)
    return ".".join(match.groups()) if match else "none"


places = {
    "include/moepar/version.hpp": find(header, r"MAJOR (\d+).*?MINOR (\d+).*?PATCH (\d+)"),
    "meson.build": find(root / "meson.build", r"^  version: '([^']*)'"),
    "CITATION.cff": find(root / "CITATION.cff", r'^version: "?([^"\n]*)'),
    "CHANGELOG.md": find(root / "CHANGELOG.md", r"^## \[([^\]]*)\]"),
    "CMakeLists.txt": find(cmake, r"^project\(moepar VERSION (\S+)"),
}
if places["CMakeLists.txt"] == "${version}":  # read from the header by CMake's regular expression: try that one on it
    places["CMakeLists.txt"] = find(header, find(cmake, r'^string\(REGEX REPLACE "([^"]*)"'))
if len(sys.argv) > 2:
    build = pathlib.Path(sys.argv[2])
    if not build.is_dir():
        sys.exit(f"there is no build folder {build}")
    generated = {"moepar.pc": r"^Version: (.*?)$", "moeparConfigVersion.cmake": r'PACKAGE_VERSION "([^"]*)"'}
    for name, pattern in generated.items():
        # Meson writes both into its private folder; without cmake on the machine it leaves the package out.
        for path in (build / "meson-private" / name, build / name):
            if path.is_file():
                places[name] = find(path, pattern)

if len(set(places.values())) == 1:
    print(f"{next(iter(places.values()))} in {len(places)} places")
    sys.exit(0)
for place, version in places.items():
    print(f"{version:14} {place}")
sys.exit(1)
