#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The oracle with transformers beside it; needs torch and transformers.

    tests/oracle/live.py --program-builder COMMAND [--cases A,B]

For each case: records it anew in a temporary folder and compares with what is recorded; builds its program by COMMAND, in which
{folder} is the recorded case and {program} the program to write; compares as compare.py does; then transformers loads the
checkpoint that the program trained, and must give the logits that the program gives for it. Exit: 0 good, 1 bad.
"""
import argparse
import json
import math
import pathlib
import shlex
import subprocess
import sys
import tempfile

import torch
import transformers

import cases
import compare
import generate
import truth
from tensor_file import read_tensors

SAME_LOGITS = 1e-5  # of the largest logit, or of 1
SAME_RECORD = 1e-7  # between versions of torch, of numbers that were computed in float64


def numbers(value, path=""):
    """{path: number} of everything in expected.json that is computed in float64."""
    if isinstance(value, dict):
        pairs = [(f"{path}.{key}", item) for key, item in value.items() if not key.startswith(("float32", "versions"))]
    elif isinstance(value, list):
        pairs = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: value}
    return {place: number for key, item in pairs for place, number in numbers(item, key).items()}


def largest_drift(recorded, fresh):
    """(difference, where) between two answers of transformers. Counts and settings must be equal."""
    if recorded.keys() != fresh.keys():
        return float("inf"), f"the fields {sorted(recorded.keys() ^ fresh.keys())[:3]}"
    worst = (0.0, "")
    for place, ours in recorded.items():
        theirs = fresh[place]
        difference = abs(ours - theirs) if isinstance(ours, float) else 0.0 if ours == theirs else float("inf")
        worst = max(worst, (difference, place))
    return worst


def tensor_drift(recorded, fresh):
    if {name: t.shape for name, t in recorded.items()} != {name: t.shape for name, t in fresh.items()}:
        return float("inf")
    pairs = ((a, b) for name, tensor in recorded.items() for a, b in zip(tensor.values, fresh[name].values))
    drifts = [abs(a - b) / max(1.0, abs(a)) for a, b in pairs]
    return float("inf") if any(map(math.isnan, drifts)) else max(drifts)


def problems_of_record(case, scratch):
    """Records the case again and says what is not as it was."""
    recorded = generate.RECORDED / case.name
    generate.record(case, scratch)
    fresh, problems = scratch / case.name, []
    for path in [*recorded.glob("*.jsonl"), *recorded.glob("model*")]:
        other = fresh / path.name
        if not other.is_file() or other.read_bytes() != path.read_bytes():
            problems.append(f"record: {path.name} is another file now")
    old, new = (json.loads((folder / "expected.json").read_text()) for folder in (recorded, fresh))
    difference, place = largest_drift(numbers(old), numbers(new))
    if difference > SAME_RECORD:
        problems.append(f"record: {place} moved by {difference:.1e} from {old['versions']} to {new['versions']}")
    for name in ("logits", "gradients"):
        difference = tensor_drift(*(read_tensors(folder / f"{name}.safetensors") for folder in (recorded, fresh)))
        if difference > 10 * SAME_RECORD:  # stored in float32
            problems.append(f"record: {name} moved by {difference:.1e} from {old['versions']} to {new['versions']}")
    return problems


def problems_of_export(case, program, scratch):
    """Loads in transformers what the program saved."""
    folder, data = scratch / "trained", generate.RECORDED / case.name / "data.jsonl"
    if not folder.is_dir():
        return ["export: nothing was saved"]
    out = scratch / "trained_logits.safetensors"
    try:
        program("logits", "--checkpoint", folder, "--data", data, "--out", out)
        ours = compare.tensors_of(out)["logits"]
    except compare.Mismatch as problem:
        return [f"export: {problem}"]
    try:
        _, info = transformers.MixtralForCausalLM.from_pretrained(folder, output_loading_info=True, **truth.IMPLEMENTATION)
        model = truth.load(folder, torch.float64)
    except (OSError, ValueError, RuntimeError, KeyError) as problem:
        return [f"export: transformers cannot load {folder}: {problem}"]
    complaints = {key: sorted(map(str, value)) for key, value in info.items() if value}
    if complaints:
        return [f"export: transformers loads with {complaints}"]
    batch = truth.batch_of([json.loads(line) for line in data.read_text().splitlines()])
    with truth.arithmetic(torch.float64), torch.no_grad():
        theirs = truth.outputs_of(model, batch, case.aux).logits * batch["attention_mask"].unsqueeze(-1)
    ours = torch.tensor(list(ours.values), dtype=torch.float64).reshape(ours.shape)
    difference = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
    return [] if difference <= SAME_LOGITS else [f"export: logits differ by {difference:.1e} of the largest"]


def check(case, builder, width):
    """Prints the lines of one case and returns whether it is good."""
    recorded = generate.RECORDED / case.name
    with tempfile.TemporaryDirectory() as folder:
        scratch = pathlib.Path(folder)
        try:
            problems = problems_of_record(case, scratch / "record")
        except ValueError as problem:
            problems = [f"record: {problem}"]
        path = scratch / "program"
        words = [word.replace("{folder}", str(recorded)).replace("{program}", str(path)) for word in shlex.split(builder)]
        built = subprocess.run(words, capture_output=True, text=True, errors="replace")
        measured = {}
        if built.returncode:
            output = (built.stdout + built.stderr).strip()[-1000:]
            problems.append(f"build: {shlex.join(words)}: exit {built.returncode}: {output}")
        else:
            program = compare.Program([str(path)])
            measured, found = compare.compare_case(recorded, program, scratch)
            problems += found + problems_of_export(case, program, scratch)
        print(compare.line_of(case.name, width, measured, problems), flush=True)
    return not problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program-builder", required=True)
    parser.add_argument("--cases", help="names with commas between; all unless given")
    arguments = parser.parse_args()
    wanted = arguments.cases.split(",") if arguments.cases else [case.name for case in cases.CASES]
    unknown = set(wanted) - {case.name for case in cases.CASES}
    if unknown:
        print(f"live.py: no case {', '.join(sorted(unknown))}. Fix: take names from cases.py.")
        return 1
    generate.quiet()
    width = max(map(len, wanted)) + 1
    print(f"torch {torch.__version__}, transformers {transformers.__version__}")
    print(compare.header(width))
    good = [check(case, arguments.program_builder, width) for case in cases.CASES if case.name in wanted]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
