#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares a program of a model with what transformers gave; needs the standard library only.

    tests/oracle/compare.py CASE[,CASE] --program-of COMMAND      'all' for every recorded case

COMMAND is what runs the program of a case: {name} in it is the case, {folder} its recorded folder. It is called with each of
the verbs logits, gradients, evaluate, train and generate. Prints the worst differences of each case and the band they must
stay in. Exit: 0 all within, 1 something differs.
"""
import argparse
import json
import math
import pathlib
import re
import shlex
import struct
import subprocess
import sys
import tempfile

from tensor_file import read_tensors

RECORDED = pathlib.Path(__file__).resolve().parent / "recorded"
# What is measured, and the largest difference that is right. Gradients: of the largest of their tensor; norm: of itself.
BANDS = {
    "logits": 1e-4,  # on real positions
    "loss": 1e-5,  # ce, aux and loss of one batch
    "gradients": 1e-4,
    "evaluate": 1e-5,  # ce of the same rows
    "steps": 1e-5,  # loss, ce and aux_loss of each step of training
    "norm": 1e-4,  # gradient norm of each step
    "after": 1e-5,  # ce of the saved checkpoint, read again
}
ALWAYS_ZERO = 1e-7  # what a gradient may be where the truth is 0 throughout the tensor


class Mismatch(Exception):
    """An answer that is not of the expected form or kind."""


class Program:
    """The program of one case. command: the words that start it, before the verb; timeout: seconds a call."""

    def __init__(self, command, timeout=600):
        self.command, self.timeout = command, timeout

    def __call__(self, *arguments):
        """Its stdout."""
        words = [*self.command, *map(str, arguments)]
        try:
            result = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=self.timeout)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise Mismatch(f"{shlex.join(words)}: {problem}") from problem
        if result.returncode:
            raise Mismatch(f"{shlex.join(words)}: exit {result.returncode}: {result.stderr.strip()[-500:]}")
        return result.stdout


class Worst:
    """The largest difference of one kind, and where it was."""

    def __init__(self):
        self.difference, self.place = 0.0, ""

    def note(self, difference, place):
        # Whatever is no number is as wrong as can be.
        difference = math.inf if math.isnan(difference) else difference
        if difference > self.difference:
            self.difference, self.place = difference, place


def last_line(text):
    lines = text.strip().splitlines()
    if not lines:
        raise Mismatch("nothing on stdout")
    return lines[-1]


def json_object(line):
    try:
        value = json.loads(line)
    except json.JSONDecodeError as problem:
        raise Mismatch(f"not JSON: {line[:200]!r}") from problem
    if not isinstance(value, dict):
        raise Mismatch(f"not a JSON object: {line[:200]!r}")
    return value


def number(values, key):
    value = values.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Mismatch(f"no number {key!r} in {json.dumps(values)[:300]}")
    return value


def tensors_of(path):
    try:
        return read_tensors(path)
    except (OSError, ValueError, KeyError, struct.error) as problem:
        raise Mismatch(f"{path} cannot be read: {problem!r}") from problem


def require_same(ours, expected, what):
    if ours != expected:
        raise Mismatch(f"{what}: {json.dumps(ours)}, expected {json.dumps(expected)}")


def require_same_shapes(ours, expected):
    """The same tensors in the same shapes."""
    missing, extra = sorted(expected.keys() - ours.keys()), sorted(ours.keys() - expected.keys())
    if missing or extra:
        raise Mismatch(f"{len(missing)} tensors are missing: {missing[:3]}, {len(extra)} are not expected: {extra[:3]}")
    for name, tensor in expected.items():
        require_same(list(ours[name].shape), list(tensor.shape), f"shape of {name}")


# Each of these runs one verb and notes in `measured` how far it is off, {what: Worst}. What is of another form or kind, such as
# a token that went to another expert, is a Mismatch, raised once everything that can be measured is.


def compare_logits(case, program, scratch, measured):
    program("logits", "--checkpoint", case, "--data", case / "data.jsonl", "--out", scratch / "logits.safetensors")
    ours, expected = tensors_of(scratch / "logits.safetensors"), read_tensors(case / "logits.safetensors")
    require_same_shapes(ours, expected)
    worst = measured["logits"] = Worst()
    rows, length, vocabulary = expected["logits"].shape
    masks = [json.loads(line)["attention_mask"] for line in (case / "data.jsonl").read_text().splitlines()]
    for position in range(rows * length):
        row, column = divmod(position, length)
        real = masks[row][column]
        for index in range(position * vocabulary, (position + 1) * vocabulary):
            value = ours["logits"].values[index]
            if not real and value != 0:
                raise Mismatch(f"row {row}, position {column} is padding and has the logit {value}, expected 0")
            worst.note(abs(value - expected["logits"].values[index]), f"row {row}, position {column}")


def compare_gradients(case, program, scratch, measured):
    expected = json.loads((case / "expected.json").read_text())
    out = scratch / "gradients.safetensors"
    answer = json_object(
        last_line(
            program(
                "gradients", "--checkpoint", case, "--data", case / "data.jsonl",
                "--aux-loss-coef", expected["aux_loss_coef"], "--out", out,
            )
        )
    )  # fmt: skip
    loss = measured["loss"] = Worst()
    for key in ("ce", "aux", "loss"):
        loss.note(abs(number(answer, key) - expected[key]), key)
    ours, truth = tensors_of(out), read_tensors(case / "gradients.safetensors")
    require_same_shapes(ours, truth)
    gradients = measured["gradients"] = Worst()
    for name, tensor in truth.items():
        largest = max(map(abs, tensor.values))
        for value, right in zip(ours[name].values, tensor.values):
            difference = abs(value - right)
            # Inside the band when all are zero but for rounding; else far outside.
            gradients.note(difference / largest if largest else difference / ALWAYS_ZERO * BANDS["gradients"], name)
    require_same(answer.get("tokens_per_expert"), expected["tokens_per_expert"], "tokens_per_expert")


def compare_evaluation(case, program, checkpoint, expected, measured, what):
    answer = json_object(last_line(program("evaluate", "--checkpoint", checkpoint, "--data", case / "data.jsonl")))
    difference = abs(number(answer, "ce") - expected)
    measured[what] = Worst()
    measured[what].note(difference, "ce")


def training_flags(training):
    flags = {
        "--batch": [training["batch"]],
        "--steps": [training["steps"]],
        "--lr": [training["lr"]],
        "--betas": training["betas"],
        "--eps": [training["eps"]],
        "--weight-decay": [training["weight_decay"]],
        "--clip": [training["clip"]],
    }
    if training["clip"] is None:  # without the flag nothing is clipped
        del flags["--clip"]
    return [word for flag, values in flags.items() for word in (flag, *values)]


def steps_of(path):
    """The lines of steps; a log may hold lines of other kinds."""
    try:
        lines = [json_object(line) for line in path.read_text().splitlines()]
    except OSError as problem:
        raise Mismatch(str(problem)) from problem
    return [line for line in lines if line.get("kind", "step") == "step" and "step" in line]


def compare_training(case, program, scratch, measured):
    expected = json.loads((case / "expected.json").read_text())
    training = expected["train"]
    saved, metrics = scratch / "trained", scratch / "metrics.jsonl"
    program("train", "--checkpoint", case, "--data", case / "train.jsonl", *training_flags(training),
            "--aux-loss-coef", expected["aux_loss_coef"], "--save", saved, "--metrics", metrics)  # fmt: skip
    steps = steps_of(metrics)
    numbers = [line["step"] for line in steps]
    if numbers != list(range(1, training["steps"] + 1)):
        numbered = f"numbered {numbers[:2]} to {numbers[-1:]}, expected 1 to {training['steps']}"
        raise Mismatch(f"{len(steps)} steps in the metrics, {numbered}")
    losses, norm = measured["steps"], measured["norm"] = Worst(), Worst()
    for index, line in enumerate(steps):
        place = f"step {index + 1}"
        for key in ("loss", "ce", "aux_loss"):
            losses.note(abs(number(line, key) - training[key][index]), f"{key} of {place}")
        norm.note(abs(number(line, "grad_norm") / training["grad_norm"][index] - 1), place)
        if not math.isclose(number(line, "lr"), training["lr"], rel_tol=1e-6):
            raise Mismatch(f"{place}: lr {line['lr']}, expected {training['lr']}")
    compare_evaluation(case, program, saved, training["after"]["ce"], measured, "after")
    for line, counts in zip(steps, training["tokens_per_expert"]):
        require_same(line.get("tokens_per_expert"), counts, f"tokens_per_expert of step {line['step']}")


def compare_generation(case, program):
    expected = json.loads((case / "expected.json").read_text())["generate"]
    prompt, following = expected["ids"], expected["next"]
    line = last_line(
        program("generate", "--checkpoint", case, "--ids", ",".join(map(str, prompt)), "--count", len(following))
    )
    ours = [int(word) for word in re.findall(r"-?\d+", line)]
    if ours not in (following, prompt + following):  # with or without the prompt
        raise Mismatch(f"{line[:200]!r}, expected {following}")


def compare_case(case, program, scratch):
    """({what: Worst}, problems) of all verbs. scratch: an empty folder, afterwards with the trained checkpoint in trained/."""
    measured, problems = {}, []
    expected = json.loads((case / "expected.json").read_text())
    verbs = {
        "logits": lambda: compare_logits(case, program, scratch, measured),
        "gradients": lambda: compare_gradients(case, program, scratch, measured),
        "evaluate": lambda: compare_evaluation(case, program, case, expected["ce"], measured, "evaluate"),
        "train": lambda: compare_training(case, program, scratch, measured),
        "generate": lambda: compare_generation(case, program),
    }
    for verb, compare in verbs.items():
        try:
            compare()
        except Mismatch as problem:
            problems.append(f"{verb}: {problem}")
    for what, worst in measured.items():
        if worst.difference > BANDS[what]:
            problems.append(f"{what}: {worst.difference:.1e} at {worst.place}, band {BANDS[what]:.0e}")
    return measured, problems


def header(width):
    names = f"{'case':<{width}}" + "".join(f"{what:>11}" for what in BANDS)
    return names + f"\n{'band':<{width}}" + "".join(f"{band:>11.0e}" for band in BANDS.values())


def line_of(name, width, measured, problems):
    numbers = "".join(f"{measured[what].difference:>11.1e}" if what in measured else f"{'-':>11}" for what in BANDS)
    return "\n".join([f"{name:<{width}}{numbers}  {'FAILED' if problems else 'ok'}", *(f"  {text}" for text in problems)])


def recorded_cases(names, recorded=RECORDED):
    """The folders of 'all' or of names with commas between."""
    if names == "all":
        return sorted(path.parent for path in recorded.glob("*/expected.json"))
    return [recorded / name for name in names.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases")
    parser.add_argument("--program-of", required=True)
    parser.add_argument("--recorded", type=pathlib.Path, default=RECORDED)
    arguments = parser.parse_args()
    folders = recorded_cases(arguments.cases, arguments.recorded)
    missing = [folder.name for folder in folders if not (folder / "expected.json").is_file()]
    if missing or not folders:
        what = ", ".join(missing) or "at all"
        print(f"compare.py: no recorded case {what} in {arguments.recorded}. Fix: run generate.py, or name another.")
        return 1
    width = max(len(folder.name) for folder in folders) + 1
    print(header(width))
    failed = False
    for folder in folders:
        words = shlex.split(arguments.program_of)
        command = [word.replace("{name}", folder.name).replace("{folder}", str(folder)) for word in words]
        with tempfile.TemporaryDirectory() as scratch:
            measured, problems = compare_case(folder, Program(command), pathlib.Path(scratch))
        print(line_of(folder.name, width, measured, problems), flush=True)
        failed = failed or bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
