#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses the library as a stranger would, from a folder outside the checkout, and runs the result.

    tests/consumers/run.py copy|pkg-config|cmake-package|cmake-subdirectory|meson-subproject ROOT
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

kind, root = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
HERE = pathlib.Path(__file__).resolve().parent
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
NOTHING_BUT_HEADERS = [f"-D{feature}=disabled" for feature in ("tests", "examples", "benchmarks", "mpi", "cuda", "nccl", "sentencepiece")]


def tool(name):
    found = shutil.which(name) or shutil.which(name, path=str(root / ".venv" / "bin"))
    if found is None:
        print(f"skipped: {name} is not installed")
        sys.exit(77)
    return found


def run(*command, **options):
    print("$", *command, flush=True)
    # In a folder of its own: Meson asks cmake --system-information, which writes into the current one.
    result = subprocess.run([str(part) for part in command], cwd=folder, stdout=subprocess.PIPE, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{result.stdout}\nexit {result.returncode}")
    return result.stdout


def copy_of_checkout(to):
    """What a user would have got: the files that git knows or would take; without git, all but build folders."""
    git = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(git, capture_output=True) if shutil.which("git") else None
    if listed and listed.returncode == 0:
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (root / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, to / name)
    else:
        shutil.copytree(root, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build*", ".venv", ".git"))


def installed():
    prefix = folder / "prefix"
    meson = tool("meson")
    run(meson, "setup", folder / "build", root, f"--prefix={prefix}", *NOTHING_BUT_HEADERS)
    run(meson, "install", "-C", folder / "build")
    return prefix


def main():
    source = HERE / "consumer.cpp"
    program = folder / "consumer"
    os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{root / '.venv' / 'bin'}"  # ninja beside meson
    os.environ.setdefault("CMAKE_GENERATOR", "Ninja")  # a machine that builds this project has ninja, maybe no make
    if kind == "copy":
        shutil.copytree(root / "include", folder / "include")
        run("g++", "-std=c++20", *STRICT, "-I", folder / "include", source, "-o", program, "-pthread")
    elif kind == "pkg-config":
        tool("pkg-config")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(installed() / "share" / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "moepar", env=environment)
        run("g++", "-std=c++20", *STRICT, source, "-o", program, *flags.split())
    elif kind == "cmake-package":
        cmake = tool("cmake")
        prefix = installed()
        configure = [cmake, "-S", HERE / "cmake_package", f"-DCMAKE_PREFIX_PATH={prefix}"]
        for wrong in ("0.2", "99.0"):
            refused = subprocess.run([*map(str, configure), "-B", str(folder / wrong), f"-DWANTED={wrong}"], capture_output=True, text=True)
            if refused.returncode == 0 or "moepar" not in refused.stderr:
                sys.exit(f"version {wrong} was not refused:\n{refused.stdout}{refused.stderr}")
        run(*configure, "-B", folder / "cmake")
        run(cmake, "--build", folder / "cmake")
        program = folder / "cmake" / "consumer"
    elif kind == "cmake-subdirectory":
        cmake = tool("cmake")
        shutil.copytree(HERE, folder / "project")
        copy_of_checkout(folder / "project" / "cmake_subdirectory" / "moepar")
        run(cmake, "-S", folder / "project" / "cmake_subdirectory", "-B", folder / "cmake")
        run(cmake, "--build", folder / "cmake")
        program = folder / "cmake" / "consumer"
    elif kind == "meson-subproject":
        meson = tool("meson")
        shutil.copytree(HERE / "meson_subproject", folder / "project")
        shutil.copy2(source, folder / "project")
        copy_of_checkout(folder / "project" / "subprojects" / "moepar")
        run(meson, "setup", folder / "build", folder / "project")
        run(meson, "compile", "-C", folder / "build")
        program = folder / "build" / "consumer"
    else:
        sys.exit(f"there is no kind '{kind}': {__doc__}")
    print(run(program))


with tempfile.TemporaryDirectory(prefix="moepar-consumer-") as name:
    folder = pathlib.Path(name)
    main()
