# SPDX-License-Identifier: Apache-2.0
"""How our scripts call g++, clang and nvcc: which one a name is, its flags, many at once."""
import collections
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLDEST_CLANG = 16  # 14, the default of Debian 12, lacks too much of C++20
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"]
# Without -Wpedantic: it refuses the line markers that nvcc itself writes for the host compiler.
STRICT_NVCC = ["-Werror", "all-warnings", "-Xcompiler", ",".join(flag for flag in STRICT if flag != "-Wpedantic")]

Compiler = collections.namedtuple("Compiler", "path name kind version")  # kind: g++, clang or nvcc


def find(name):
    """(compiler, '') for a name or path, or (None, why not)."""
    path = shutil.which(name)
    if path is None:
        return None, f"{name} is not installed"
    text = run([path, "--version"])[1]
    kind = "nvcc" if "Cuda compiler" in text else "clang" if "clang" in text else "g++"
    version = re.search(r"release (\d+\.\d+)" if kind == "nvcc" else r"(\d+\.\d+\.\d+)", text)
    version = version[1] if version else "0"
    if kind == "clang" and int(version.split(".")[0]) < OLDEST_CLANG:
        return None, f"{name} is clang {version}, older than {OLDEST_CLANG}"
    return Compiler(path, pathlib.Path(name).name, kind, version), ""


def newest_clang():
    """The newest clang of the names that Debian and Ubuntu give it, or None."""
    for major in range(30, OLDEST_CLANG - 1, -1):
        compiler = find(f"clang++-{major}")[0]
        if compiler:
            return compiler
    return None


def check_command(compiler, strict):
    """Checks a source and keeps nothing. nvcc has no -fsyntax-only."""
    if compiler.kind == "nvcc":
        command = [compiler.path, "-std=c++20", "-x", "cu", "-c", "-o", os.devnull]
        return command + (STRICT_NVCC if strict else []) + ["-I", "include"]
    color = "-fno-color-diagnostics" if compiler.kind == "clang" else "-fdiagnostics-color=never"
    return [compiler.path, "-std=c++20", "-fsyntax-only", color, *(STRICT if strict else []), "-I", "include"]


def run(command):
    """(exit status, everything printed), in English, from the top of the repository."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        errors="replace",
    )
    return done.returncode, done.stdout


def run_all(commands):
    """run() of each, on all cores, in the given order."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(run, commands))
