#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The data program from outside: the blocks it writes are those of run_clm.py's rule as Python states it, and each bad
flag or file is one clear error that leaves nothing behind.

    tests/data_program.py PROGRAM

With sentencepiece built in, also Mixtral's tokenizer over SST-2, where the data is: MOEPAR_SHARED, or `shared` beside
the project.
"""
import fcntl
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import termios

PROGRAM = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = pathlib.Path(os.environ.get("MOEPAR_SHARED", ROOT.parent / "shared")) / "data"
failures = []


def expect(condition, what):
    if not condition:
        failures.append(what)


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, errors="replace", timeout=120)


def refused(text, *arguments):
    """Exit code 2, nothing on stdout, one line on stderr that holds `text` and says what to do; no file is new."""
    before = sorted(os.listdir(folder))
    result = run(*arguments)
    lines = result.stderr.splitlines()
    good = len(result.stderr) < 1000 and result.returncode == 2 and not result.stdout and len(lines) == 1 and text in lines[0] and "Fix: " in lines[0]
    expect(good, f"{arguments}: expected a refusal with {text!r}, got {result.returncode}: {result.stderr[:300]!r}")
    expect(sorted(os.listdir(folder)) == before, f"{arguments}: left something behind")


def summary(*arguments):
    result = run("--json", *arguments)
    expect(result.returncode == 0 and result.stderr == "", f"{arguments}: {result.stderr}")
    return json.loads(result.stdout or "{}")


def group(rows, batch, block):
    """group_texts of run_clm.py under map(batched=True, batch_size=batch)."""
    blocks, dropped = [], 0
    step = batch or max(1, len(rows))
    for first in range(0, len(rows), step):
        joined = [token for row in rows[first : first + step] for token in row]
        total = len(joined) // block * block
        blocks += [joined[i : i + block] for i in range(0, total, block)]
        dropped += len(joined) - total
    return blocks, dropped


def hash_of(data, start=0xCBF29CE484222325):
    for byte in data:
        start = (start ^ byte) * 0x100000001B3 & (1 << 64) - 1
    return start


def read_tokens(path):
    """The blocks of a token file, read by what its header is documented to be."""
    data = path.read_bytes()
    number = lambda at, size: int.from_bytes(data[at : at + size], "little")
    width, length, count = number(20, 4), number(24, 8), number(32, 8)
    expect(data[:16] == b"moepar tokens\0\0\0" and number(16, 4) == 1 and number(48, 8) == 1, f"{path}: header")
    expect(len(data) == 64 + width * length * count, f"{path}: size")
    expect(number(56, 8) == hash_of(data[:56], hash_of(data[64:])), f"{path}: hash")
    tokens = [number(64 + width * i, width) for i in range(length * count)]
    return [tokens[i * length : (i + 1) * length] for i in range(count)]


def check(rows, first, last, batch, block, *arguments):
    """The program makes of rows first..last what the rule makes of them, in both forms of output."""
    expected, dropped = group(rows[first:last], batch, block)
    flags = [*arguments, "--batch", str(batch), "--block", str(block)]
    for output in (folder / "out.jsonl", folder / "out.tokens"):
        got = summary(*flags, "--out", str(output))
        ids = sum(len(row) for row in rows[first:last])
        want = {"rows_of_file": len(rows), "first_row": first, "rows": last - first, "ids": ids, "blocks": len(expected), "dropped": dropped}
        expect({key: got.get(key) for key in want} == want, f"{flags}: {got}, expected {want}")
        if not output.exists():
            continue
        if output.suffix == ".jsonl":
            want = "".join(json.dumps({"input_ids": b, "attention_mask": [1] * block, "labels": b}, separators=(",", ":")) + "\n" for b in expected)
            expect(output.read_text() == want, f"{flags}: other lines")
        else:
            expect(read_tokens(output) == expected, f"{flags}: other blocks")
        output.unlink()


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    out = str(folder / "o.jsonl")

    help_text = run("--help").stdout
    expect("tokenizer.model" in help_text and "--split" in help_text, "--help")
    without = "without sentencepiece" in " ".join(help_text.split())

    texts = [f"row {i} " + "é" * (i * 7 % 23) for i in range(41)] + ["", "end "]
    rows = [list(text.encode()) for text in texts]
    lines, tsv, objects = folder / "rows.txt", folder / "rows.tsv", folder / "rows.jsonl"
    lines.write_text("\n".join(texts) + "\n")
    tsv.write_text("label\tsentence\r\n" + "".join(f"1\t{text}\r\n" for text in texts), newline="")
    objects.write_text("".join(json.dumps({"id": i, "body": text}) + "\n" for i, text in enumerate(texts)))
    for batch, block in ((1000, 16), (0, 16), (10, 16), (1, 5), (3, 64), (0, 1)):
        check(rows, 0, 43, batch, block, "--input", str(lines))
        check(rows, 0, 43, batch, block, "--input", str(tsv), "--format", "tsv")
        check(rows, 0, 43, batch, block, "--input", str(objects), "--format", "jsonl", "--field", "body")
    check([list(lines.read_bytes())], 0, 1, 1000, 16, "--input", str(lines), "--format", "whole")
    # 10 % of 43 rows are 4, 50 % are 21.5: the even one, 22.
    for split, first, last in (("train[:10%]", 0, 4), ("train[10%:]", 4, 43), ("[:50%]", 0, 22), ("x[-5:-1]", 38, 42), ("[2:4]", 2, 4)):
        check(rows, first, last, 2, 8, "--input", str(tsv), "--format", "tsv", "--split", split)

    text = run("--input", str(lines), "--out", out, "--block", "8", "--split", "[10:12]").stdout
    expect("2 rows (10..11 of 43)" in text and text.count("\n") == 1, f"summary: {text!r}")
    pathlib.Path(out).unlink(missing_ok=True)

    good = ["--input", str(lines), "--out", out]
    refused("--input is required", "--out", out)
    refused("--out is required", "--input", str(lines))
    refused("--bogus", *good, "--bogus")
    refused("is no file", "--input", str(folder / "absent"), "--out", out)
    refused("is no file", "--input", str(folder), "--out", out)
    refused("--format csv: not known", *good, "--format", "csv")
    refused("which has no fields", *good, "--field", "x")
    refused("let the name end in .jsonl or .tokens", "--input", str(lines), "--out", str(folder / "o.txt"))
    refused("is the input", "--input", str(objects), "--format", "jsonl", "--field", "body", "--out", str(objects))
    refused("No such file", "--input", str(lines), "--out", str(folder / "absent" / "o.jsonl"))
    refused("block = 0", *good, "--block", "0")
    refused("batch = -1", *good, "--batch", "-1")
    refused("--block", *good, "--block", "x")
    refused("too few for a block of 2048", *good)
    refused("--batch 0", *good, "--block", "100", "--batch", "1")
    for split in ("train[", "a+b", "[10:20%]", "[:101%]"):
        refused("is no part of the rows", *good, f"--split={split}", "--block", "8")
    refused("beyond the 43 rows", *good, "--split", "[:44]", "--block", "8")
    refused("has 0 rows", *good, "--split", "[5:5]", "--block", "8")
    refused("no column is named 'text'", "--input", str(tsv), "--format", "tsv", "--field", "text", "--out", out)
    refused("rows.jsonl:1: it has no field 'text'", "--input", str(objects), "--format", "jsonl", "--out", out)
    bad = folder / "bad.jsonl"
    bad.write_text('{"text":"' + "a" * 5000 + '"}\n{"text":\n')
    refused("bad.jsonl:2: it is no JSON", "--input", str(bad), "--format", "jsonl", "--block", "16", "--out", out)
    bad.write_text("")
    refused("it is empty", "--input", str(bad), "--out", out)
    with bad.open("w") as sparse:
        sparse.truncate(1 << 30)
    refused("bad.jsonl:1: the line is longer than the limit", "--input", str(bad), "--format", "jsonl", "--out", out)
    refused("limit of 67108864 bytes", "--input", str(bad), "--format", "whole", "--out", out)
    refused("without sentencepiece" if without else "cannot read", *good, "--tokenizer", str(folder / "absent"))

    # A file that has the name stays until the new one is whole.
    pathlib.Path(out).write_text("before")
    refused("too few", *good)
    expect(pathlib.Path(out).read_text() == "before", "a refusal replaced a file")
    pathlib.Path(out).unlink(missing_ok=True)
    os.mkfifo(out)
    refused("no plain file", *good, "--block", "8")
    pathlib.Path(out).unlink(missing_ok=True)

    # A bar on a terminal only, gone at the end.
    big = folder / "big.txt"
    big.write_text("a line of text\n" * 400000)
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 100, 0, 0))
    program = subprocess.Popen([PROGRAM, "--input", str(big), "--out", out], stdout=subprocess.DEVNULL, stderr=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    program.wait(timeout=60)
    expect(program.returncode == 0 and b"rows" in shown and shown.endswith(b"\r\x1b[K"), f"progress: {shown[-200:]!r}")
    pathlib.Path(out).unlink(missing_ok=True)

    # Memory does not grow with the file.
    big.write_text("a line of text\n" * 8000000)
    probe = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    flags = ["--input", str(big), "--out", str(folder / "o.tokens"), "--batch", "0"]
    measured = subprocess.run([sys.executable, "-c", probe, PROGRAM, *flags], capture_output=True, text=True, timeout=300)
    # Sanitizers keep what was freed.
    limit = 50 if b"__asan_init" not in pathlib.Path(PROGRAM).read_bytes() else 2000
    expect(measured.returncode == 0 and int(measured.stdout or "0") < limit * 1024, f"memory for 120 MB of text: {measured.stdout} KiB {measured.stderr}")
    big.unlink()
    (folder / "o.tokens").unlink()

    model = DATA / "tokenizer" / "tokenizer.model.v1"
    if without:
        print("skipped: SST-2, since the program was built without sentencepiece")
    elif not model.exists():
        print(f"skipped: SST-2, since there is no {model}")
    else:
        sst2 = ["--format", "tsv", "--tokenizer", str(model)]
        for split, batch, ids, blocks, dropped in (
            ("dev", 1000, 23494, 11, 966),
            ("test", 0, 46739, 22, 1683),
            ("train", 1000, 958792, 429, 80200),
            ("train", 0, 958792, 468, 328),
            ("train[:10%]", 1000, 95614, 42, 9598),
            ("train[10%:]", 1000, 863178, 393, 58314),
        ):
            source = str(DATA / "sst2" / (split.split("[")[0] + ".tsv"))
            got = summary(*sst2, "--input", source, "--split", split, "--batch", str(batch), "--out", out)
            want = {"ids": ids, "blocks": blocks, "dropped": dropped, "vocabulary": 32000}
            expect({key: got.get(key) for key in want} == want, f"SST-2 {split} by {batch}: {got}")
        refused("is no SentencePiece model", *good, "--tokenizer", str(lines))
        big.write_text("a" * (9 << 20))
        refused("limit of 8388608 bytes", "--input", str(big), "--out", out, "--tokenizer", str(model))

for failure in failures:
    print(failure)
print(f"{len(failures)} failures")
sys.exit(bool(failures))
