#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the C++ of the documents: every ```cpp block of README.md and docs/*.md is a translation unit.

    tools/docs_examples.py [COMPILER]      g++ unless named

All warnings are errors. Code that is no whole program stands in a ```text block. Exit: 0 good, 1 bad, 77 no compiler.
"""
import pathlib
import sys
import tempfile

from compilers import ROOT, check_command, find, run_all


def blocks(page):
    """[(line of the first line of code, code)] of the ```cpp blocks."""
    found, start, code, fence = [], 0, [], None
    for number, line in enumerate(page.read_text().splitlines(), 1):
        words = line.strip()
        if fence is None and words.startswith("```"):
            fence, start, code = words[3:].strip(), number + 1, []
        elif fence is not None and words == "```":
            if fence.split(" ")[0] == "cpp":
                found.append((start, "\n".join(code) + "\n"))
            fence = None
        elif fence is not None:
            code.append(line)
    return found


def main():
    compiler, why = find(sys.argv[1] if len(sys.argv) > 1 else "g++")
    if compiler is None:
        print(f"skipped: {why}")
        return 77
    pages = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if page.exists()]
    places, commands = [], []
    with tempfile.TemporaryDirectory() as folder:
        for page in pages:
            for start, code in blocks(page):
                place = page.relative_to(ROOT).as_posix()
                source = pathlib.Path(folder) / f"{len(places)}.cpp"
                source.write_text(f'#line {start} "{place}"\n{code}')  # so the compiler names the page and its line
                places.append(f"{place}:{start}")
                commands.append([*check_command(compiler, strict=True), source])
        answers = run_all(commands)
    failures = 0
    for place, (status, output) in zip(places, answers):
        if status:
            failures += 1
            print(f"{place}: this example does not compile\n{output}")
    verdict = f"{failures} fail" if failures else "all compile"
    print(f"{len(places)} examples in {len(pages)} pages, {compiler.name} {compiler.version}: {verdict}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
