#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The plan program from outside: what it prints, and one clear error for each bad flag and each hostile config.json.

    tests/plan_program.py PROGRAM
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
failures = []


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, errors="replace", timeout=60)


def expect(condition, what):
    if not condition:
        failures.append(what)


def refused(text, *arguments):
    """Exit code 2, nothing on stdout, one line on stderr that holds `text` and says what to do."""
    result = run(*arguments)
    lines = result.stderr.splitlines()
    good = len(result.stderr) < 1000 and result.returncode == 2 and not result.stdout and len(lines) == 1 and text in lines[0] and "Fix: " in lines[0]
    expect(good, f"{arguments}: expected a refusal with {text!r}, got {result.returncode}: {result.stderr[:300]!r}")


def planned(*arguments):
    result = run("--json", *arguments)
    expect(result.returncode == 0, f"{arguments}: {result.stderr}")
    return json.loads(result.stdout)


# The known figures: 16 bytes a parameter, tenths of 10^9 bytes.
for world, expert, shard, tenths in [(16, 1, 16, 467), (16, 2, 8, 483), (16, 8, 2, 579), (64, 2, 32, 121), (128, 1, 128, 58)]:
    plan = planned("--world", str(world), "--precision", "f32")
    expect(plan["parameters"]["total"] == 46702792704, "Mixtral 8x7B has 46,702,792,704 parameters")
    row = next(r for r in plan["layouts"] if (r["expert_degree"], r["hybrid_shard_degree"]) == (expert, shard))
    got = round(row["state_bytes"]["total"] / 1e8)
    expect(got == tenths, f"world {world}, EP {expert}, HSD {shard}: {got} instead of {tenths} tenths of a GB")

# One smallest HSD for each expert degree, and it is the first that fits.
plan = planned("--world", "64", "--memory", "80GB")
for expert in (1, 2, 4, 8):
    rows = [r for r in plan["layouts"] if r["expert_degree"] == expert]
    first = next(i for i, r in enumerate(rows) if r["fits"])
    expect([r["smallest_that_fits"] for r in rows] == [i == first for i in range(len(rows))], f"EP {expert}: smallest HSD")

for world in ("1", "7", "1048576", "16777216"):
    expect(run("--world", world).returncode == 0, f"a world of {world}")
expect("No layout fits" in run("--memory", "1MB").stdout, "says when nothing fits")
expect("<- smallest HSD that fits" in run("--world", "64").stdout, "marks the smallest HSD")
expect(run("--help").returncode == 0, "--help")

refused("WorldSize = 0", "--world", "0")
refused("1 to 2^24 ranks (WorldSize = 16777217)", "--world", "16777217")
refused("--world = abc", "--world", "abc")
refused("--bogus", "--bogus")
refused("Degree = 3, ExpertCount = 8", "--expert-parallel", "3")
refused("Degree = 8, WorldSize = 12", "--expert-parallel", "8", "--world", "12")
refused("TopK = 9", "--num_experts_per_tok", "9")
refused("hidden_size = 0", "--hidden_size", "0")
refused("more than 2^30", "--hidden_size", "99999999999")
refused("more than this program counts", "--length", str(2**30), "--sequences", str(2**30))
for memory in ("12parsec", "-1GB", "nan", "inf", "", "1e40GB", "0x10GB", "0.5"):
    refused("not an amount of memory", f"--memory={memory}" if memory else "--memory= ")
refused("choose f32 or bf16", "--precision", "f16")
refused("between 1 and 2^30", "--length", "0")

with tempfile.TemporaryDirectory() as folder:
    config = pathlib.Path(folder) / "config.json"
    for text, error in [
        ("", "is no JSON"),
        ("[1]", "is no JSON object"),
        ("[" * 100000, "nested more than 16 deep"),
        ('{"a":' * 50 + "1" + "}" * 50, "nested more than 16 deep"),
        ('{"hidden_size": 1, "hidden_size": 2}', "stands twice"),
        ('{"hidden_size": "x"}', "must be a whole number"),
        ('{"hidden_size": 1.5}', "must be a whole number"),
        ('{"hidden_size": 18446744073709551615}', "more than 2^30"),
        ('{"hidden_size": -8}', "hidden_size = -8"),
        ('{"hidden_size": 64', "is no JSON"),
        ('{"hidden_size": 64, "tie_word_embeddings": 3}', "true or false"),
        ('{"model_type": "llama"}', "plans a mixtral"),
        (" " * 2000000, "larger than 1 MiB"),
        ('{"hidden_size": 4096}\x00garbage', "holds a NUL byte"),
        ("{}", "names no size"),
        ('{"hidden_size": "' + "x" * 100000 + '"}', 'must be a whole number, but is "xxx'),
    ]:
        config.write_text(text)
        refused(error, "--config", str(config))
    config.write_bytes(b'{"a": "\xff\xfe"}')
    refused("is no JSON", "--config", str(config))
    refused("is no file", "--config", folder)
    refused("is no file", "--config", str(config) + ".absent")
    os.mkfifo(f"{folder}/pipe")
    refused("is no file", "--config", f"{folder}/pipe")
    config.write_text('{"model_type": "mixtral", "num_local_experts": 6, "hidden_size": null, "rope_theta": 1e6}')
    plan = planned("--config", str(config), "--world", "6", "--num_hidden_layers", "2")
    expect({r["expert_degree"] for r in plan["layouts"]} == {1, 2, 3, 6}, "degrees of six experts")

for failure in failures:
    print(failure)
print(f"{len(failures)} failures")
sys.exit(bool(failures))
