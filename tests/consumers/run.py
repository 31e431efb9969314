#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uses the library as a stranger would, from a folder outside the checkout, and runs the result.

    tests/consumers/run.py copy|pkg-config|cmake-package|cmake-subdirectory|cmake-model|meson-subproject ROOT

Exits with 77 where a tool is missing. The environment may name the compiler (CXX) and Meson (MESON).
"""
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

KINDS = ("copy", "pkg-config", "cmake-package", "cmake-subdirectory", "cmake-model", "meson-subproject")
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
FEATURES = ("tests", "examples", "benchmarks", "mpi", "cuda", "nccl", "sentencepiece")
NOTHING_BUT_HEADERS = [f"-D{feature}=disabled" for feature in FEATURES]


def tool(name):
    found = shutil.which(name)
    if found is None:
        print(f"skipped: {name} is not installed")
        sys.exit(77)
    return os.path.abspath(found)  # commands run in another folder


def meson_tool():
    meson = tool(os.environ.get("MESON", "meson"))
    os.environ["PATH"] += os.pathsep + str(pathlib.Path(meson).parent)  # a virtual environment has ninja beside it
    tool("ninja")
    return meson


def compiler():
    command = shlex.split(os.environ.get("CXX", "g++"))
    tool(command[0])
    return [*command, "-std=c++20", *STRICT]


def run(*command):
    """The text on standard output; on failure everything, since Meson writes its errors there too."""
    words = [str(word) for word in command]
    print("$", *words, flush=True)
    # In a folder of its own: Meson asks cmake --system-information, which writes into the current one.
    done = subprocess.run(
        words, cwd=working_folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode != 0:
        sys.exit(f"{done.stdout}{done.stderr}{words[0]} failed with {done.returncode}")
    return done.stdout


def copy_of_checkout(to):
    """What a user would have got: the files that git knows or would take; without git, all but build folders."""
    if (root / ".git").exists() and shutil.which("git"):
        listed = subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            stdout=subprocess.PIPE,
        )
        if listed.returncode == 0:
            for name in filter(None, os.fsdecode(listed.stdout).split("\0")):
                if (root / name).is_file():  # a deleted file stays listed until the next commit
                    (to / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(root / name, to / name)
            return

    def unwanted(folder, names):
        top = pathlib.Path(folder) == root
        return [name for name in names if top and (name.startswith("build") or name in (".venv", ".git"))]

    shutil.copytree(root, to, dirs_exist_ok=True, ignore=unwanted)


def installed(meson, checkout, folder):
    prefix = folder / "prefix"
    run(meson, "setup", folder / "build", checkout, f"--prefix={prefix}", *NOTHING_BUT_HEADERS)
    run(meson, "install", "-C", folder / "build")
    return prefix


def build_with_cmake(cmake, project, build, *options):
    run(cmake, "-S", project, "-B", build, *options)
    run(cmake, "--build", build)
    return build / "consumer"


def build_with_package(cmake, project, prefix):
    where = f"-DCMAKE_PREFIX_PATH={prefix}"
    for wrong in ("0.0", "0.2", "99.0"):  # also an older one: a new minor version may break
        refused = subprocess.run(
            [cmake, "-S", str(project), "-B", str(prefix / "refused" / wrong), where, f"-DWANTED={wrong}"],
            cwd=working_folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            universal_newlines=True,
        )
        # CMake lists what it found and did not accept; a package that is not found at all is another failure.
        if refused.returncode == 0 or str(prefix / "share") not in refused.stdout:
            sys.exit(f"version {wrong} was not refused for being wrong:\n{refused.stdout}")
    return build_with_cmake(cmake, project, prefix / "consumer-build", where)


def build_consumer(kind, folder):
    """Builds in folder, reading nothing of the checkout but the copy; the command that runs the program."""
    checkout, consumers = folder / "moepar", folder / "consumers"
    program, source = folder / "consumer", consumers / "consumer.cpp"
    shutil.copytree(pathlib.Path(__file__).resolve().parent, consumers)
    if kind == "copy":
        command = compiler()
        copy_of_checkout(checkout)
        run(*command, "-I", checkout / "include", source, "-o", program, "-pthread")
    elif kind == "pkg-config":
        command, pkg_config, meson = compiler(), tool("pkg-config"), meson_tool()
        copy_of_checkout(checkout)
        os.environ["PKG_CONFIG_PATH"] = str(installed(meson, checkout, folder) / "share" / "pkgconfig")
        run(*command, source, "-o", program, *run(pkg_config, "--cflags", "--libs", "moepar").split())
    elif kind == "cmake-package":
        cmake, meson = tool("cmake"), meson_tool()
        copy_of_checkout(checkout)
        by_meson, by_cmake = installed(meson, checkout, folder), folder / "prefix-cmake"
        run(cmake, "-S", checkout, "-B", folder / "build-cmake", f"-DCMAKE_INSTALL_PREFIX={by_cmake}")
        run(cmake, "--install", folder / "build-cmake")
        shutil.rmtree(checkout)  # an installed package needs no checkout
        run(build_with_package(cmake, consumers / "cmake_package", by_meson))
        program = build_with_package(cmake, consumers / "cmake_package", by_cmake)
    elif kind == "cmake-subdirectory":
        cmake, project = tool("cmake"), consumers / "cmake_subdirectory"
        copy_of_checkout(project / "moepar")
        program = build_with_cmake(cmake, project, folder / "cmake")
    elif kind == "cmake-model":
        cmake, project = tool("cmake"), consumers / "cmake_model"
        copy_of_checkout(project / "moepar")
        shutil.copy2(root / "tests" / "oracle" / "recorded" / "plain" / "config.json", project)
        return [build_with_cmake(cmake, project, folder / "cmake"), "plan", "--batch", "3", "--length", "8"]
    else:
        meson, project = meson_tool(), consumers / "meson_subproject"
        shutil.copy2(source, project)
        copy_of_checkout(project / "subprojects" / "moepar")
        # Without the wrap mode, a moepar that is installed on the machine would be taken instead of this one.
        run(meson, "setup", folder / "build", project, "--wrap-mode=forcefallback")
        run(meson, "compile", "-C", folder / "build")
        program = folder / "build" / "consumer"
    return [program]


if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
    sys.exit(__doc__)
root = pathlib.Path(sys.argv[2]).resolve()
os.environ["PATH"] += os.pathsep + str(root / ".venv" / "bin")  # ninja beside meson
if shutil.which("ninja"):
    os.environ.setdefault("CMAKE_GENERATOR", "Ninja")  # a machine that builds this project has ninja, maybe no make
with tempfile.TemporaryDirectory(prefix="moepar-consumer-") as name:
    working_folder = pathlib.Path(name).resolve()
    print(run(*build_consumer(sys.argv[1], working_folder)), end="")
