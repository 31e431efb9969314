#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of one source that must not compile.

    tests/compile_fail.py SOURCE COMPILER

The source has cases `#if MOEPAR_CASE == N`, each with comments that say what is expected of the compiler:
    // expected-error-N {{text}}          exactly one error, which contains the text
    // expected-number-N {{Degree = 3}}   the number stands among the arguments of the function that refuses
MOEPAR_CASE=0 selects the control beside the cases, which must compile. Exit: 0 good, 1 bad, 77 no such compiler.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tools"))
from compilers import check_command, find, run_all  # noqa: E402

ERROR = re.compile(r"^(?:\S.*?[:)]:? )?(?:fatal |catastrophic |internal compiler )?error(?: #[\w-]+)?: ", re.I)
# The arguments of the asserting function: g++ prints them before the error, clang and nvcc after it.
G_ARGUMENTS = re.compile(r"In instantiation of '[^']*\brequire_\w+\(\) \[with (.*)\]'")
CLANG_ARGUMENTS = re.compile(r"function template specialization '[^']*\brequire_\w+<(.*)>' requested here")
NVCC_ARGUMENTS = re.compile(r'instantiation of "[^"]*\brequire_\w+<[^"]*\(\) \[with (.*)\]"')


def plain(text):
    """'ExpertCount = 8L' -> 'ExpertCount=8'; packs of g++ '{64, 0}' and nvcc '<64L, 0L>' -> '64,0'."""
    return re.sub(r"(?<=\d)[uUlL]+\b|[\s{}<>]", "", text)


def numbers_of_names(text):
    """'long int Degree = 3; long int ...Sizes = {1, 2}' or 'Degree=3L, Sizes=<1L, 2L>' -> {'Degree=3', 'Sizes=1,2'}."""
    return {plain(f"{name}={value}") for name, value in re.findall(r"(\w+)\s*=\s*(\{[^}]*\}|<[^>]*>|-?\d+\w*)", text)}


def numbers_visible(kind, output, error_line, expected):
    """Whether the function that refuses is shown with every expected number."""
    lines = output.splitlines()
    if kind == "g++":
        found = [match[1] for match in map(G_ARGUMENTS.search, lines[:error_line]) if match][-1:]
    else:
        pattern = CLANG_ARGUMENTS if kind == "clang" else NVCC_ARGUMENTS
        found = [match[1] for match in map(pattern.search, lines[error_line:]) if match][:1]
    if not found:
        return False
    if kind != "clang":
        return {plain(number) for number in expected} <= numbers_of_names(found[0])
    # clang prints values only: the expected ones must stand among them in the order of the source.
    shown = iter(plain(found[0]).split(","))
    wanted = [value for number in expected for value in plain(number).split("=")[1].split(",")]
    return all(value in shown for value in wanted)


def problem_of(kind, status, output, text, numbers):
    """What is wrong with the compiler's answer to a case, or None."""
    errors = [(index, line) for index, line in enumerate(output.splitlines()) if ERROR.match(line)]
    if status == 0:
        return "compiles"
    if len(errors) != 1:
        return f"{len(errors)} errors instead of one"
    index, line = errors[0]
    if text not in line:
        return f"the error does not say '{text}'"
    if numbers and not numbers_visible(kind, output, index, numbers):
        return f"the refusing function is not shown with {', '.join(numbers)}"
    return None


def main():
    if len(sys.argv) != 3:
        print(__doc__)
        return 1
    source = pathlib.Path(sys.argv[1]).resolve()
    compiler, why = find(sys.argv[2])
    if compiler is None:
        print(f"skipped: {why}")
        return 77
    code = source.read_text()
    cases = sorted({int(number) for number in re.findall(r"MOEPAR_CASE == (\d+)", code)})
    texts = re.findall(r"// expected-error-(\d+) \{\{(.*?)\}\}\n", code)
    numbers = re.findall(r"// expected-number-(\d+) \{\{(.*?)\}\}\n", code)
    if not cases or sorted(int(number) for number, _ in texts) != cases:
        print(f"{source.name}: every case needs one expected-error-N, and every expected-error-N a case")
        return 1
    unread = len(re.findall("expected-", code)) - len(texts) - len(numbers)
    if unread or {int(number) for number, _ in numbers} - set(cases):
        print(f"{source.name}: an expectation is misspelt, or its case does not exist")
        return 1
    command = check_command(compiler, strict=False)
    answers = run_all([*command, f"-DMOEPAR_CASE={number}", source] for number in [0, *cases])
    failures = 0
    for number, (status, output) in zip([0, *cases], answers):
        if number == 0:
            problem = "the control does not compile" if status else None
        else:
            text = next(text for at, text in texts if int(at) == number)
            wanted = [value for at, value in numbers if int(at) == number]
            problem = problem_of(compiler.kind, status, output, text, wanted)
        if problem:
            failures += 1
            print(f"{source.name} case {number}: {problem}\n{output}")
    verdict = f"{failures} wrong" if failures else "one error each"
    print(f"{source.name}, {compiler.name} {compiler.version}: {len(cases)} cases and a control, {verdict}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
