#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/troubleshooting.md: every sentence the library can say at compile time, from tests/compile_fail.

    tools/troubleshooting.py           writes the page
    tools/troubleshooting.py --check   fails when the page is not what would be written

The texts are those of real compilers, whose versions the page names. A compiler that is absent here, or of another
version, is not asked; what the page holds of it stays.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "troubleshooting.md"
CASES = ROOT / "tests" / "compile_fail"
COMPILERS = {
    "g++": ["g++", "-std=c++20", "-fsyntax-only", "-fdiagnostics-color=never"],
    "clang": ["clang++-16", "-std=c++20", "-fsyntax-only", "-fno-color-diagnostics"],
    "nvcc": ["nvcc", "-std=c++20", "-x", "cu", "-c", "-o", os.devnull],
}
INTRODUCTION = """\
<!-- Written by tools/troubleshooting.py from tests/compile_fail; do not edit. -->
# What the compiler says, and what to do

A layout that cannot work does not compile. Each broken rule is one error with one sentence, which says what is required
and how to fix it; the lines around it show the numbers and lead to your own line. Search this page for the sentence you
see. The texts are those of {versions}.

A program that learns a number only when it starts (a launcher's world size, a flag, a `config.json`) gets the same
sentence as `moepar::Error`, with the numbers in it.
"""


def version(name):
    """The compiler's name and version, or None where it is not installed."""
    program = COMPILERS[name][0]
    if shutil.which(program) is None:
        return None
    text = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    match = re.search(r"V(\d+\.\d+\.\d+)", text) or re.search(r"(\d+\.\d+\.\d+)", text)
    return f"{name} {match[1]}" if match else None


def cases(source):
    """[(number, sentence, comment, code)] and the code of the control."""
    text = source.read_text()
    found = []
    for number, body in re.findall(r"#(?:el)?if MOEPAR_CASE == (\d+)\n(.*?)(?=#elif|#else)", text, re.S):
        sentence = re.search(r"expected-error-\d+ \{\{(.*?)\}\}", body)[1]
        lines = [line for line in body.splitlines() if "expected-" not in line]
        comment = " ".join(line[3:] for line in lines if line.startswith("// "))
        code = "\n".join(line for line in lines if not line.startswith("// "))
        found.append((number, sentence, comment, code))
    return found, re.search(r"#else\n(.*?)#endif", text, re.S)[1].strip()


def compiler_text(name, source, number):
    command = [*COMPILERS[name], "-I", "include", f"-DMOEPAR_CASE={number}", str(source.relative_to(ROOT))]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = [line.rstrip() for line in (run.stdout + run.stderr).splitlines()]
    return "\n".join(lines).strip()


def recorded(page):
    """{(anchor, compiler): (compiler with version, text)} of the page as it is."""
    found = {}
    for section in re.split(r"(?m)^(?=## )", page):
        anchor = section.splitlines()[0] if section else ""
        for title, text in re.findall(r"<summary>([^<]*)</summary>\n\n```text\n(.*?)\n```", section, re.S):
            found[anchor, title.split()[0]] = title, text
    return found


def main():
    old = PAGE.read_text() if PAGE.exists() else ""
    known = recorded(old)
    versions = {name: version(name) for name in COMPILERS}
    if "--check" in sys.argv[1:]:  # only compilers of the recorded versions can be compared
        pages_versions = {title for title, _ in known.values()}
        versions = {name: text if text in pages_versions else None for name, text in versions.items()}
    sections = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for source in sorted(CASES.glob("*.cpp")):
            found, control = cases(source)
            for number, sentence, comment, code in found:
                if any(sentence in known_sentence for known_sentence in sections):
                    continue
                texts = {
                    name: pool.submit(compiler_text, name, source, number) for name in COMPILERS if versions[name]
                }
                sections[sentence] = (comment, code, control, texts)
        body = []
        for sentence, (comment, code, control, texts) in sections.items():
            anchor = f"## {sentence}"
            part = [anchor, ""]
            shown = {name: (versions[name], future.result()) for name, future in texts.items()}
            for name in COMPILERS:
                if name not in shown and (anchor, name) in known:
                    shown[name] = known[anchor, name]
            full = next(
                (re.search(r"moepar(::\w+)?: .*? Fix: [^\n\"]*", text) for _, text in shown.values()), None
            )
            if full:
                part += [f"**Fix:** {full[0].split(' Fix: ')[1].rstrip()}", ""]
            if comment:
                part += [comment, ""]
            part += ["Broken:", "", "```text", code, "```", "", "Works:", "", "```text", control, "```", ""]
            for name in COMPILERS:
                if name in shown:
                    title, text = shown[name]
                    part += [f"<details><summary>{title}</summary>", "", "```text", text, "```", "", "</details>", ""]
            body.append("\n".join(part))
    used = sorted({title for title, _ in recorded("\n".join(body)).values()}, key=lambda t: list(COMPILERS).index(t.split()[0]))
    page = INTRODUCTION.format(versions=", ".join(used)) + "\n" + "\n".join(body)
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page)
        print(f"{PAGE.relative_to(ROOT)}: {len(sections)} sentences, {', '.join(used)}")
        return 0
    if page == old:
        asked = ", ".join(text for text in versions.values() if text) or "no compiler of a recorded version"
        print(f"{len(sections)} sentences as {asked} says them")
        return 0
    print(f"{PAGE.relative_to(ROOT)} is stale. Fix: run tools/troubleshooting.py and commit the page.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
