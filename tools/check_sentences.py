#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares the sentences of core/rules.hpp (compile time) with those of core/checks.hpp (start of a run).

C++20 wants a literal in a static_assert, so a rule that is also checked at start has its sentence twice.
Also: every sentence of the library has the form "moepar...: what is required. Fix: what to do.", and every one that
a static_assert can show is expected by a case in tests/compile_fail.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include" / "moepar"


def joined(literals):
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals))


def required(text):
    """require_NAME -> its sentence."""
    found = {}
    for name, body in re.findall(r"consteval bool require_(\w+)\(\) \{(.*?)\n\}", text, re.S):
        match = re.search(r'((?:"(?:[^"\\]|\\.)*"\s*)+)\);', body)
        if match:
            found[name] = joined(match[1])
    return found


def checked(text):
    """check_NAME -> its sentence."""
    found = {}
    for name, body in re.findall(r"constexpr void check_(\w+)\((.*?)\n\}", text, re.S):
        match = re.search(r'refuse\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+),', body)
        found[name] = joined(match[1]) if match else ""
    return found


def main():
    problems = []
    rules = {}
    for header in sorted(INCLUDE.rglob("*.hpp")):
        rules.update(required(header.read_text()))
    checks = checked((INCLUDE / "core" / "checks.hpp").read_text())
    twins = {"size_is_positive": "sizes_are_positive"}  # a check takes one number, the rule takes all of a module
    start_only = {"launched_ranks_are_world_size"}  # no compiler knows what a launcher started
    for name, sentence in checks.items():
        twin = rules.get(twins.get(name, name))
        if name not in start_only and twin != sentence:
            problems.append(f"check_{name} says\n  {sentence}\nand the compiler says\n  {twin}")
    cases = "\n".join(path.read_text() for path in sorted((ROOT / "tests" / "compile_fail").glob("*.cpp")))
    expected = re.findall(r"expected-error-\d+ \{\{(.*?)\}\}", cases)
    for name, sentence in rules.items():
        if not any(text in sentence for text in expected):
            problems.append(f"no case in tests/compile_fail expects the sentence of require_{name}: {sentence}")
    for sentence in [*rules.values(), *checks.values()]:
        if not re.fullmatch(r"moepar(::\w+)?: [^.]*(\([^)]*\))?[^.]*\. Fix: .*\.", sentence):
            problems.append(f"not of the form 'moepar::Entity: requirement. Fix: what to do.': {sentence}")
    for problem in problems:
        print(problem)
    if not rules or not checks:
        print("no sentences found: the pattern of this script no longer matches the headers")
        return 1
    print(f"{len(rules)} rules of the compiler, {len(checks)} checks at start: {'differences' if problems else 'same words'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
