#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Model programs as their users run them: the same bits on every layout, resumed on another one, stopped and killed.

    tests/program/program.py WORLDS [DATA]     the programs built from worlds.cpp and tools/data.cpp
"""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

LAYOUTS = ["ep1", "ep2", "ep4", "ep8", "mixed"]
program, *data_program = map(os.path.abspath, sys.argv[1:])
failures = 0
folder = pathlib.Path(tempfile.mkdtemp(prefix="moepar_program_"))


def run(layout, *arguments, limit=None):
    """(exit code, last line of stdout as JSON or None, stderr)"""
    words = [program, layout, *map(str, arguments)]
    set_limit = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit else None
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=folder, preexec_fn=set_limit)
    lines = done.stdout.strip().splitlines()
    return done.returncode, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None, done.stderr


def check(condition, what, shown=""):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED: {what}\n{shown}")


def refused(what, words, *arguments, layout="ep1"):
    status, _, said = run(layout, *arguments)
    check(status != 0 and all(word in said for word in words) and "terminate" not in said, what, f"{status}: {said}")


def write_data(name, rows, seed):
    stream = random.Random(seed)
    with open(folder / name, "w") as file:
        for number in range(rows):
            length = stream.randint(1, 9)
            ids = [stream.randrange(40) for _ in range(length)]
            row = {"input_ids": ids}
            if number % 3 == 1:  # padding on the left, tokens like any other
                row = {"input_ids": [7, 7, *ids], "attention_mask": [0, 0] + [1] * length, "labels": [-100] * 3 + ids[1:]}
            file.write(json.dumps(row) + "\n")


write_data("data.jsonl", 21, 1)
write_data("other.jsonl", 21, 2)
SETTINGS = ("--lr", 0.01, "--clip", 1, "--aux-loss-coef", 0.05, "--warmup", 2, "--print-every", 0)
TRAIN = ("train", "--data", "data.jsonl", "--batch", 6, *SETTINGS)

# --- The same bits on every layout, with a batch that eight ranks do not divide ---

answers = {layout: run(layout, *TRAIN, "--seed", 5, "--steps", 4, "--save", f"run_{layout}") for layout in LAYOUTS}
for layout, (status, answer, said) in answers.items():
    check(status == 0, f"{layout} trains", said)
hashes = {layout: answer["hash"] for layout, (_, answer, _) in answers.items() if answer}
check(len(set(hashes.values())) == 1, "one hash on every layout", hashes)
weights = {layout: (folder / f"run_{layout}" / "model.safetensors").read_bytes() for layout in LAYOUTS}
check(len(set(weights.values())) == 1, "one file of weights on every layout")

# --- Resumed: 2 + 2 steps on any pair of layouts are 4 steps ---

for before in LAYOUTS:
    status, _, said = run(before, *TRAIN, "--seed", 5, "--steps", 2, "--save", f"half_{before}")
    check(status == 0, f"{before} saves", said)
    for after in LAYOUTS:
        work = f"half_{before}_{after}"
        shutil.copytree(folder / f"half_{before}", folder / work)
        status, answer, said = run(after, *TRAIN, "--seed", 5, "--steps", 4, "--resume", work, "--save", work)
        check(status == 0 and answer["hash"] == hashes["ep1"], f"2 steps on {before}, 2 on {after} are 4", said)
refused("resumed with other data", ["other run", "data"], "train", "--data", "other.jsonl", "--batch", 6, *SETTINGS,
        "--steps", 4, "--resume", "half_ep1")  # fmt: skip
refused("resumed with another batch", ["batch was 6 and is 4"], "train", "--data", "data.jsonl", "--batch", 4, *SETTINGS,
        "--steps", 4, "--resume", "half_ep1")  # fmt: skip
refused("resumed from nothing", ["no_such"], *TRAIN, "--steps", 4, "--resume", "no_such")

# --- Asynchronous and synchronous saves, and none, train the same ---

for extra in (["--save-every", 1], ["--save-every", 1, "--synchronous"], ["--micro-steps", 1, "--receive-rows", 18]):
    _, answer, said = run("ep4", *TRAIN, "--seed", 5, "--steps", 4, "--save", "saves", *extra)
    check(answer and answer["hash"] == hashes["ep1"], f"the same with {extra}", said)
    shutil.rmtree(folder / "saves")

# --- Verbs on what was written ---

_, exported, said = run("ep2", "export", "run_ep8", "--out", "exported")
check(exported and exported["step"] == 4, "a checkpoint is exported", said)
check((folder / "exported" / "model.safetensors").read_bytes() == weights["ep1"], "exported weights are the saved ones")
check(json.loads((folder / "exported" / "config.json").read_text())["num_local_experts"] == 8, "with their config.json")
for kind in ("exported", "run_ep1", "run_ep4/step-00000004"):
    _, answer, said = run("mixed", "evaluate", "--checkpoint", kind, "--data", "data.jsonl")
    check(answer and answer["sequences"] == 21, f"evaluate reads {kind}", said)
    check(answer["ce"] == run("ep1", "evaluate", "--checkpoint", "run_ep2", "--data", "data.jsonl", "--batch", 5)[1]["ce"],
          f"the same loss from {kind}")  # fmt: skip
texts = {layout: run(layout, "generate", "--checkpoint", "run_ep1", "--ids", "1,2,3", "--count", 6)[1] for layout in LAYOUTS}
check(all(text == texts["ep1"] and len(text["generated"]) == 6 for text in texts.values()), "one text on every layout", texts)
drawn = run("ep1", "generate", "--checkpoint", "run_ep1", "--ids", "1", "--count", 6, "--temperature", 1, "--top-p", 0.9)[1]
check(drawn and drawn != texts["ep1"], "temperature draws", drawn)
files = {}
for layout in LAYOUTS:
    run(layout, "logits", "--checkpoint", "run_ep1", "--data", "data.jsonl", "--out", f"{layout}.logits")
    _, answer, said = run(layout, "gradients", "--checkpoint", "run_ep1", "--data", "data.jsonl", "--aux-loss-coef", 0.1,
                          "--out", f"{layout}.gradients")  # fmt: skip
    check(answer and {"ce", "aux", "loss", "tokens_per_expert"} <= set(answer), "gradients tell the losses", said)
    files[layout] = [(folder / f"{layout}.{kind}").read_bytes() for kind in ("logits", "gradients")]
check(all(pair == files["ep1"] for pair in files.values()), "one file of logits and of gradients on every layout")
_, answer, _ = run("ep8", "plan", "--batch", 6, "--length", 9)
check(answer and answer["world"] == 8 and answer["parameters"] > 20000, "the plan", answer)
status, answer, said = run("ep1", "verify", "run_ep8")
check(status == 0 and answer["good"], "a good checkpoint is good", said)

# --- Where values come from ---

shutil.copytree(folder / "run_ep4" / "step-00000004", folder / "under another name")
_, answer, said = run("ep1", "evaluate", "--checkpoint", "under another name", "--data", "data.jsonl")
check(answer and answer["sequences"] == 21, "a checkpoint under another name", said)
(folder / "step-00000009").mkdir()
for name in ("model.safetensors", "config.json"):
    shutil.copy(folder / "exported" / name, folder / "step-00000009")
check(run("ep1", "evaluate", "--checkpoint", "step-00000009", "--data", "data.jsonl")[0] == 0, "weights in a folder named so")
(folder / "run_ep1" / "step-00000004.partial").mkdir()
refused("an unfinished checkpoint", ["step-00000004.partial"], "evaluate", "--checkpoint", "run_ep1/step-00000004.partial",
        "--data", "data.jsonl")  # fmt: skip
shutil.copytree(folder / "exported", folder / "other theta")
text = (folder / "other theta" / "config.json").read_text()
(folder / "other theta" / "config.json").write_text(text.replace("10000.0", "500.0"))
refused("weights of another model", ["rope_theta 500.0 (the program: 10000.0)"], "evaluate", "--checkpoint", "other theta",
        "--data", "data.jsonl")  # fmt: skip
refused("a run started anew in its folder", ["--resume run_ep1"], *TRAIN, "--steps", 2, "--save", "run_ep1")
refused("fewer steps than were made", ["4 steps"], *TRAIN, "--steps", 2, "--resume", "run_ep1")
half = (*TRAIN, "--schedule", "cosine", "--schedule-steps", 4)
_, whole, _ = run("ep1", *half, "--seed", 5, "--steps", 4)
run("ep1", *half, "--seed", 5, "--steps", 2, "--save", "cosine")
_, resumed, said = run("ep2", *half, "--steps", 4, "--resume", "cosine", "--save", "cosine")
check(resumed and resumed["hash"] == whole["hash"], "a cosine over both halves", said)

# --- A flipped bit, a killed run, a full disk, a signal ---

part = next((folder / "run_ep8" / "step-00000004").glob("rank-*.safetensors"))
bytes_of_part = bytearray(part.read_bytes())
bytes_of_part[-5] ^= 4
part.write_bytes(bytes_of_part)
status, answer, said = run("ep1", "verify", "run_ep8")
check(status == 1 and not answer["good"] and "CORRUPT" in said, "a flipped bit is found", said)
refused("a corrupt checkpoint is not loaded", ["step-00000004"], "evaluate", "--checkpoint", "run_ep8/step-00000004",
        "--data", "data.jsonl")  # fmt: skip

LONG = (*TRAIN, "--seed", 5, "--steps", 100000, "--save-every", 3, "--save", "long")


def started():
    child = subprocess.Popen([program, "ep4", *map(str, LONG)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((folder / "long").glob("step-*[0-9]")) and time.monotonic() < deadline:
        time.sleep(0.05)
    return child


child = started()
refused("two runs in one folder", ["in use by another run", str(child.pid)], *LONG, "--resume", "long", layout="ep2")
child.kill()
child.communicate()
saved = sorted(path.name for path in (folder / "long").glob("step-*[0-9]"))
check(bool(saved), "a killed run leaves its checkpoints")
status, answer, said = run("ep2", *TRAIN, "--seed", 5, "--steps", int(saved[-1][5:]) + 3, "--resume", "long", "--save", "long")
check(status == 0, "a killed run goes on", said)
shutil.rmtree(folder / "long")
child = started()
child.send_signal(signal.SIGTERM)
out, said = child.communicate(timeout=60)
answer = json.loads(out.decode().strip().splitlines()[-1]) if out.strip() else {}
check(child.returncode == 0 and answer.get("stopped") is True, "SIGTERM saves and ends", said)
check((folder / "long" / f"step-{answer.get('steps', 0):08}" / "manifest.json").exists(), "at the step that was made", said)

status, answer, said = run("ep2", *TRAIN, "--seed", 5, "--steps", 4, "--save-every", 2, "--save", "full", limit=20000)
check(status == 1 and "was not written, training goes on" in said and "rank" in said, "a full disk is reported", said)
check(not list((folder / "full").glob("step-*")), "and leaves nothing", list((folder / "full").glob("*")))

# --- Blocks are read like lines ---

if data_program:
    stream, text = random.Random(3), folder / "text.txt"
    text.write_bytes(bytes(stream.randrange(1, 32) for _ in range(64)))
    for name in ("text.jsonl", "text.tokens"):
        subprocess.run([*data_program, "--input", text, "--format", "text", "--tokenizer", "bytes", "--block", "5",
                        "--batch", "0", "--out", folder / name], check=True, capture_output=True)  # fmt: skip
    answers = [run("ep1", "evaluate", "--checkpoint", "exported", "--data", name) for name in ("text.jsonl", "text.tokens")]
    check(answers[0][1] is not None and answers[0][1] == answers[1][1], "blocks and lines agree", answers)

# --- Wrong input ---

(folder / "hole.jsonl").write_text('{"input_ids":[1,2,3],"attention_mask":[1,0,1]}\n')
(folder / "large.jsonl").write_text('{"input_ids":[1,40]}\n')
(folder / "empty.jsonl").write_text("")
shutil.copytree(folder / "exported", folder / "cut")
with open(folder / "cut" / "model.safetensors", "r+b") as file:
    file.truncate(1000)
refused("a hole in a mask", ["hole.jsonl:1", "hole"], "evaluate", "--checkpoint", "exported", "--data", "hole.jsonl")
refused("an id beyond the vocabulary", ["large.jsonl:1", "40"], "evaluate", "--checkpoint", "exported", "--data", "large.jsonl")
refused("no data", ["empty.jsonl"], "evaluate", "--checkpoint", "exported", "--data", "empty.jsonl")
refused("cut weights", ["model.safetensors"], "evaluate", "--checkpoint", "cut", "--data", "data.jsonl")
refused("no checkpoint", ["nowhere"], "evaluate", "--checkpoint", "nowhere", "--data", "data.jsonl")
os.mkfifo(folder / "fifo")
refused("a result in place of a device", ["no plain file"], "logits", "--checkpoint", "exported", "--ids", "1", "--out", "fifo")
check((folder / "fifo").is_fifo(), "the device is still there")
(folder / "victim").write_text("not a lock\n")
(folder / "linked").mkdir()
(folder / "linked" / "lock").symlink_to(folder / "victim")
refused("a lock that is a link", ["lock"], *TRAIN, "--steps", 1, "--save", "linked")
check((folder / "victim").read_text() == "not a lock\n", "what the link names is as it was")
status, _, said = run("ep1", "plan", "--batch", 10**11)
check(status == 1 and "too many" in said, "a plan of too much", said)
for wrong in (["--ids", ""], ["--ids", "1,,2"], ["--ids", "1x"], ["--ids", "1", "--top-p", 2], ["--ids", "1", "--seed", -1],
              ["--ids", "1", "--temperature", "nan"]):  # fmt: skip
    refused(f"generate {wrong}", [wrong[-2]], "generate", "--checkpoint", "exported", *wrong)
refused("no verb", ["subcommand"])
with open("/dev/full", "w") as full:
    done = subprocess.run([program, "ep1", "plan"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder)
check(done.returncode == 1 and "standard output" in done.stderr, "a result that is lost", done.stderr)
refused("an unknown option", ["--nonsense"], "plan", "--nonsense")
refused("logits of nothing", ["--ids"], "logits", "--checkpoint", "exported", "--out", "x")
refused("ids beyond the vocabulary", ["41"], "generate", "--checkpoint", "exported", "--ids", "41")
refused("a negative step count", ["steps"], *TRAIN, "--steps", -1)
refused("a rate that is none", ["learning_rate"], "train", "--data", "data.jsonl", "--steps", 1, "--lr", "nan")
refused("parts of a batch with a loss over all of it", ["micro_steps"], *TRAIN, "--steps", 1, "--micro-steps", 2)
refused("a folder that is no checkpoint", ["nowhere"], "verify", "nowhere")

shutil.rmtree(folder)
print(f"{failures} failures")
sys.exit(1 if failures else 0)
