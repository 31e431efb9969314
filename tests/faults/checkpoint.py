#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a process that saves checkpoints at every single file operation, and fills its disk at every one.

    tests/faults/checkpoint.py SAVE_PROGRAM INTERPOSE_LIBRARY

After a kill, the last checkpoint that was reported as saved, or a later one, is complete. A full disk is an error on
all ranks alike, leaves the checkpoint before, and once there is room again the next save works.
"""
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile

PROGRAM, LIBRARY = (os.path.abspath(path) for path in sys.argv[1:3])
LOST, FEW, ALL = None, 4, 1 << 30  # operations that fail: the process is killed; some; all from there on


def run(*words, folder=None, at=0, count=LOST, log=None, file_limit=None):
    """Output and exit code of the program, with a fault at operation `at`."""
    environment = dict(os.environ)
    if folder:
        environment |= {"LD_PRELOAD": LIBRARY, "FAULT_FOLDER": str(folder), "FAULT_AT": str(at)}
        environment |= {"FAULT_COUNT": str(count)} if count is not LOST else {}
        environment |= {"FAULT_LOG": str(log)} if log else {}
    limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))) if file_limit else None
    done = subprocess.run(
        [PROGRAM, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        preexec_fn=limit,
    )
    return done.stdout, done.returncode


def saved(output):
    """Steps that the program reported as saved."""
    return [int(step) for step in re.findall(r"^saved (\d+)$", output, re.MULTILINE)]


def loaded(folder):
    output, code = run("load", folder)
    assert code == 0, f"nothing can be loaded: {output}"
    return int(re.fullmatch(r"step (\d+)\n", output)[1])


def errors(output):
    """Errors by rank, in order."""
    return [re.findall(rf"^{rank}: (.*)$", output, re.MULTILINE) for rank in (0, 1)]


class Case:
    """Saves `steps` into a folder that already has the checkpoint of step `before`."""

    def __init__(self, place, name, before, steps):
        self.place, self.name, self.before, self.steps = pathlib.Path(place), name, before, steps
        self.template, self.folder = self.place / f"{name}.before", self.place / name
        output, code = run("save", self.template, before)
        assert code == 0, output
        log = self.place / f"{name}.log"
        output, code = self.fresh(log=log)
        assert code == 0 and saved(output) == steps, output
        self.log = log.read_text().splitlines()
        self.operations = len(self.log)
        self.require_order()
        assert {"open", "pwrite", "fsync", "rename", "mkdir"} <= {line.split()[1] for line in self.log}, self.log

    def require_order(self):
        """What a loss of power could undo: a checkpoint gets its name when all of it is on the disk, and an older one
        goes when that name is too."""
        dirty = set()
        for line in self.log:
            operation, path = line.split()[1], pathlib.Path(line.split()[2])
            if path.name == "lock":
                continue
            if operation in ("open", "pwrite"):
                dirty |= {path, path.parent}
            elif operation == "fsync":
                dirty.discard(path)
            elif operation.startswith("rename"):
                last = path if path.suffix == ".partial" else self.folder
                left = [one for one in dirty if one == last or last in one.parents]
                assert not left, f"{left} may be lost before {line}"
                dirty.add(path.parent)
            elif operation != "mkdir":
                assert self.folder not in dirty, f"names may be lost before {line}"

    def fresh(self, **fault):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.template, self.folder)
        return run("save", self.folder, *self.steps, folder=self.folder, **fault)

    def check_after(self, output):
        """What was reported is there, and a run that comes after tidies up."""
        found = loaded(self.folder)
        at_least = (saved(output) or [self.before])[-1]
        assert found in [self.before, *self.steps] and found >= at_least, f"step {found} after {at_least}"
        output, code = run("save", self.folder, 90)
        assert code == 0 and loaded(self.folder) == 90, output
        left = sorted(path.name for path in self.folder.iterdir())
        assert left == ["lock", "step-00000090"], left

    def killed_everywhere(self):
        for at in range(1, self.operations + 1):
            output, code = self.fresh(at=at)
            assert code == -9, f"operation {at}: not killed but {code}: {output}"
            self.described(at, output, lambda: self.check_after(output))

    def full_everywhere(self, count):
        failed = 0
        for at in range(1, self.operations + 1):
            output, code = self.fresh(at=at, count=count)
            self.described(at, output, lambda: self.check_full(output, code, count))
            failed += bool(errors(output)[0])
        assert failed > self.operations // 2, f"only {failed} of {self.operations} operations can find the disk full"

    def check_full(self, output, code, count):
        first, second = errors(output)
        assert first == second, "the ranks report different errors"
        assert not re.search(r"^left ", output, re.MULTILINE), "a failed save leaves something half-written"
        for error in first:
            assert "rank " in error and "No space left on device" in error and "Fix: " in error, error
        if count == FEW:
            assert code == 0 and saved(output) == self.steps, "a later save did not work"
        else:
            assert len(first) > 0 or code == 0, "nobody says what is wrong"
        self.check_after(output)

    def described(self, at, output, check):
        try:
            check()
        except Exception as problem:
            raise AssertionError(f"{self.name}, operation {at} ({self.log[at - 1]}): {problem}\n{output}") from problem


def file_limit(place):
    """A limit on the size of files is a full disk too."""
    case = Case(place, "limit", 1, [2])
    sizes = [path.stat().st_size for path in case.template.glob("step-*/*.safetensors")]
    for limit in (max(sizes) - 1, min(sizes) // 2, 100):
        shutil.rmtree(case.folder)
        shutil.copytree(case.template, case.folder)
        output, code = run("save", case.folder, 2, file_limit=limit)
        first, second = errors(output)
        assert code == 3 and first == second and len(first) == 5, output
        assert all("File too large" in error and "the disk is full or has a limit" in error for error in first), output
        case.check_after(output)


def main():
    with tempfile.TemporaryDirectory() as place:
        further = Case(place, "further", 1, [2, 3])
        again = Case(place, "again", 1, [1])
        further.killed_everywhere()
        again.killed_everywhere()
        further.full_everywhere(FEW)
        again.full_everywhere(ALL)
        file_limit(place)
        print(f"killed at {further.operations + again.operations} operations, disk full at as many")


if __name__ == "__main__":
    main()
