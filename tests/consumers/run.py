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
    return subprocess.run([str(part) for part in command], check=True, **options)


def copy_of_checkout(to):
    """What a user would have got: the files that git knows or would take; without git, all but build folders."""
    listed = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True
    )
    if listed.returncode == 0:
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (root / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / name, to / name)
    else:
        shutil.copytree(root, to, dirs_exist_ok=True, ignore=shutil.ignore_patterns("build*", ".venv", ".git"))


def installed(folder):
    prefix = folder / "prefix"
    meson = tool("meson")
    run(meson, "setup", folder / "build", root, f"--prefix={prefix}", *NOTHING_BUT_HEADERS, stdout=subprocess.DEVNULL)
    run(meson, "install", "-C", folder / "build", stdout=subprocess.DEVNULL)
    return prefix


def main(folder):
    source = HERE / "consumer.cpp"
    program = folder / "consumer"
    os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{root / '.venv' / 'bin'}"  # ninja beside meson
    if kind == "copy":
        shutil.copytree(root / "include", folder / "include")
        run("g++", "-std=c++20", *STRICT, "-I", folder / "include", source, "-o", program, "-pthread")
    elif kind == "pkg-config":
        tool("pkg-config")
        environment = {**os.environ, "PKG_CONFIG_PATH": str(installed(folder) / "share" / "pkgconfig")}
        flags = run("pkg-config", "--cflags", "--libs", "moepar", env=environment, stdout=subprocess.PIPE).stdout
        run("g++", "-std=c++20", *STRICT, source, "-o", program, *flags.decode().split())
    elif kind == "cmake-package":
        cmake = tool("cmake")
        prefix = installed(folder)
        configure = [cmake, "-S", HERE / "cmake_package", f"-DCMAKE_PREFIX_PATH={prefix}"]
        for wrong in ("0.2", "99.0"):
            refused = subprocess.run([*map(str, configure), "-B", str(folder / wrong), f"-DWANTED={wrong}"], capture_output=True, text=True)
            if refused.returncode == 0 or "moepar" not in refused.stderr:
                sys.exit(f"version {wrong} was not refused:\n{refused.stdout}{refused.stderr}")
        run(*configure, "-B", folder / "cmake", stdout=subprocess.DEVNULL)
        run(cmake, "--build", folder / "cmake", stdout=subprocess.DEVNULL)
        program = folder / "cmake" / "consumer"
    elif kind == "cmake-subdirectory":
        cmake = tool("cmake")
        shutil.copytree(HERE, folder / "project")
        copy_of_checkout(folder / "project" / "cmake_subdirectory" / "moepar")
        run(cmake, "-S", folder / "project" / "cmake_subdirectory", "-B", folder / "cmake", stdout=subprocess.DEVNULL)
        run(cmake, "--build", folder / "cmake", stdout=subprocess.DEVNULL)
        program = folder / "cmake" / "consumer"
    elif kind == "meson-subproject":
        meson = tool("meson")
        shutil.copytree(HERE / "meson_subproject", folder / "project")
        shutil.copy2(source, folder / "project")
        copy_of_checkout(folder / "project" / "subprojects" / "moepar")
        run(meson, "setup", folder / "build", folder / "project", stdout=subprocess.DEVNULL)
        run(meson, "compile", "-C", folder / "build", stdout=subprocess.DEVNULL)
        program = folder / "build" / "consumer"
    else:
        sys.exit(f"there is no kind '{kind}': {__doc__}")
    run(program)


with tempfile.TemporaryDirectory(prefix="moepar-consumer-") as name:
    main(pathlib.Path(name))
