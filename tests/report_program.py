#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The report program from outside: the page it makes of a good log, and its refusal of each hostile one.

    tests/report_program.py PROGRAM
"""
import html.parser
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

PROGRAM = sys.argv[1]
failures = []
folder = tempfile.TemporaryDirectory()
log, page = pathlib.Path(folder.name) / "metrics.jsonl", pathlib.Path(folder.name) / "report.html"


def expect(condition, what):
    if not condition:
        failures.append(what)


def step(number, **changes):
    fields = {"version": 1, "kind": "step", "step": number, "total_steps": 100, "finite": True, "loss": 4 - number / 50, "ce": 4 - number / 50,
              "evaluation_loss": 4 - number / 60 if number % 10 == 0 else None, "aux_loss": 0.01,
              "grad_norm": 1.5, "lr": 1e-4, "milliseconds": 20.5, "tokens_per_second": 12345.6,
              "tokens_per_second_per_rank": 6172.8, "percent_of_peak": None, "load_max_over_mean": 1.25,
              "dead_experts": 0, "dropped_tokens": 0, "seconds_left": 3, "layers": 2, "experts": 3,
              "tokens_per_expert": [[4, 5, 3], [12, 0, number % 5]]}
    fields.update(changes)
    return json.dumps({name: value for name, value in fields.items() if value != "absent"}) + "\n"


RUN = json.dumps({"version": 1, "kind": "run", "model": "<b>\"tiny\" & 'MoE'</b><script>alert(1)</script>",
                  "layout": "2 ranks", "world": 2, "seed": 18446744073709551615, "unigram_entropy": 3.3}) + "\n"


class Page(html.parser.HTMLParser):
    """Checks that tags close in order and that the page is alone in the world."""

    VOID = {"meta"}
    TAGS = {"html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "b", "i", "div", "section", "dl",
            "dt", "dd", "svg", "path", "text", "tspan"}

    def __init__(self, text):
        super().__init__()
        self.open, self.data, self.problems, self.shapes = [], "", [], []
        self.feed(text)
        self.close()
        if self.open:
            self.problems.append(f"left open: {self.open}")

    def handle_starttag(self, tag, attributes):
        if tag not in self.TAGS or any(name.startswith("on") or name in ("src", "href", "style") for name, _ in attributes):
            self.problems.append(f"<{tag} {attributes}>")
        if tag not in self.VOID:
            self.open.append(tag)
        self.shapes += [value for name, value in attributes if name == "d"]

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> closes another tag")

    def handle_data(self, data):
        self.data += data


def run(*arguments, timeout=60):
    return subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, errors="replace", timeout=timeout)


def accepted(content, what, warning=""):
    """The page of `content`, checked; twice the same bytes."""
    log.write_bytes(content if isinstance(content, bytes) else content.encode())
    page.unlink(missing_ok=True)
    result = run(log, page)
    expect(result.returncode == 0 and not result.stdout, f"{what}: {result.returncode} {result.stderr[:300]}")
    expect(warning in result.stderr if warning else not result.stderr, f"{what}: warned {result.stderr[:300]!r}")
    if not page.exists():
        return Page("")
    first = page.read_bytes()
    run(log, page)
    expect(page.read_bytes() == first, f"{what}: another run gave other bytes")
    text = first.decode()
    parsed = Page(text)
    expect(text.count('class="tick"') >= 6 * text.count('role="img"'), f"{what}: an axis has no ticks")
    expect(not parsed.problems, f"{what}: {parsed.problems[:3]}")
    for foreign in ("<script", "http:", "https:", "url(", "@import", "nan", "inf "):
        expect(foreign not in re.sub("<style>.*</style>", "", text, flags=re.S) if foreign in ("nan", "inf ") else foreign not in text,
               f"{what}: the page holds {foreign!r}")
    for shape in parsed.shapes:
        expect(re.fullmatch(r"([MLHhZ]?-?[0-9]+(\.[0-9])?[ ]?|Z)*", shape), f"{what}: a path is {shape[:80]!r}")
        for number in re.findall(r"-?[0-9.]+", shape):
            expect(-1 <= float(number) <= 65536, f"{what}: a coordinate is {number}")
    expect(not list(pathlib.Path(folder.name).glob("*.partial")), f"{what}: a temporary file is left")
    return parsed


def refused(content, *texts):
    """Exit code 2, the reason with its line on stderr, and no page."""
    log.write_bytes(content if isinstance(content, bytes) else content.encode())
    page.unlink(missing_ok=True)
    result = run(log, page)
    shown = repr(content[:60])
    expect(result.returncode == 2 and not result.stdout, f"{shown}: expected a refusal, got {result.returncode}")
    expect("Fix: " in result.stderr and len(result.stderr) < 3000, f"{shown}: {result.stderr[:300]!r}")
    for text in texts:
        expect(text in result.stderr, f"{shown}: expected {text!r} in {result.stderr[:300]!r}")
    expect(not page.exists() and not page.with_suffix(".html.partial").exists(), f"{shown}: something was written")


good = RUN + "".join(step(number) for number in range(1, 101))
parsed = accepted(good, "a good log")
expect("<b>\"tiny\" & 'MoE'</b><script>alert(1)</script>" in parsed.data, "the model's name stands there as it is")
for text in ("18446744073709551615", "2 ranks", "Loss", "unigram entropy", "Learning rate", "Step time", "layer 1",
             "no token", "100 steps logged, the last is step 100"):
    expect(text in parsed.data, f"a good log: {text!r} is missing")
expect(len(page.read_bytes()) < 100_000, "a small log gives a small page")

accepted(step(0), "one step without a run line")
accepted(good + '{"version":1,"kind":"checkpoint","step":100}\n\n  \n', "lines of another kind, empty lines")
accepted(" " * 500 + good, "a torn line that became spaces")
parsed = accepted(good + "".join(step(number, loss=1) for number in range(51, 71)), "a resumed run")
expect("70 steps logged, the last is step 70" in parsed.data, "repeated steps count as written last")
parsed = accepted(good + step(101)[:200], "a torn last line", f"{log}:102: left out, the line has no end")
expect("100 steps logged" in parsed.data, "the torn line is left out")
accepted("".join(step(n, ce=None, loss=None, grad_norm=None, milliseconds=None, tokens_per_expert=[]) for n in range(9)), "nulls")
accepted("".join(step(n, loss=1.0) for n in range(9)), "a flat loss")
accepted("".join(step(n, ce=v, loss=v, grad_norm=v, milliseconds=v, load_max_over_mean=v) for n, v in
                 enumerate([0, -0.0, 1e308, -1e308, 5e-324, 1e29, -1e29, 1e-31, 1, 1e15])), "numbers far apart")
accepted("".join(step(n, ce=n * 5e-324, loss=n * 5e-324, grad_norm=n * 5e-324) for n in range(3)), "numbers next to zero")
accepted("".join(step(n, loss=1e20 + n * 16384) for n in range(9)), "numbers close together")
accepted(step(2**48 - 1) + step(2**48), "the largest steps")
accepted("".join(step(n, tokens_per_expert=[[0, 0, 0], [2**63 - 1, 0, 1]]) for n in range(3)), "largest counts")
expect('<path class="c0"' in page.read_text(), "far below the mean is drawn as the lowest level")
accepted("".join(step(n, tokens_per_expert=[[n % 7] * 65536]) for n in range(3)), "65536 experts")
accepted("".join(step(n, tokens_per_expert=[[n % 7]] * 4096) for n in range(3)), "4096 layers")
noise = random.Random(1)
accepted("".join(step(n, ce=n * 5e-324, loss=noise.random(), tokens_per_expert=[[noise.randrange(100) for _ in range(8)]] * 32)
                 for n in range(3000)), "a long log")
expect('viewBox="0 -0.5 234 8"' in page.read_text(), "32 layers of 8 experts take 60000 / 256 columns")
expect(len(page.read_bytes()) < 1_500_000, "a long log gives a page of bounded size")

refused("", "it is empty")
refused(RUN, "there is no step")
refused("\n" * 1000, "there is no step")
refused(b"\x00" * 1000 + b"\n", f"{log}:1: it is no JSON")
refused(step(1).replace("kind", "ki\x00nd"), "a text holds a control character")
refused(good + step(101)[:203] + "\n" + step(102), f"{log}:102: it ends too early")
refused(step(1).encode().replace(b"step", b"st\xff\xfe", 1), f"{log}:1: a text is not UTF-8")
refused("\ufeff" + step(1), f"{log}:1: it is no JSON")
refused("[" * 1_000_000 + "\n", f"{log}:1: it is no JSON")
refused('{"a":' + "[" * 1_000_000 + "\n", f"{log}:1: its arrays are nested more than 2 deep")
refused('{"a":' * 500_000 + "\n", f"{log}:1: it holds an object")
refused(step(1).replace("1.5", "1e999"), "the number 1e999 is out of range")
refused(step(1).replace("1.5", "9" * 5000), "is out of range")
refused(step(1).replace("1.5", "NaN"), "it is no JSON")
refused(step(1)[:-2] + ',"loss":1}\n', "a field stands twice")
for name in ("step", "ce", "grad_norm", "tokens_per_expert", "version", "kind"):
    refused(step(1, **{name: "absent"}) if name != "step" else step(1).replace('"step": 1', '"stop": 1'),
            f"{log}:1: the field '{name}' is missing")
refused(step(1, ce="low"), "the field 'ce' has a wrong type")
refused(step(1, version=2), "its version is not 1")
for number in ("-1", "1.5", "1e300", str(2**48 + 1), "null"):
    refused(step(1).replace('"step": 1', f'"step": {number}'), "'step' is no step number")
refused(step(1, tokens_per_expert=[[1, 2], [3]]), "rows of an array differ")
refused(step(1, tokens_per_expert=[[1, -2]]), "holds a number that is no count")
refused(step(1, tokens_per_expert=[[1] * 65537]), "more than 65536 experts")
refused(step(1) + step(2, tokens_per_expert=[[1, 2]]), f"{log}:2: 'tokens_per_expert' has another shape")
refused(good + "x\n" * 10000, "1000 or more")

refused(b"x" * 100_000_000 + b"\n", "it is longer than 4 MiB")
refused(b"x\n" * 50_000_000, "1000 or more")
with open(log, "wb") as file:
    file.truncate(300 << 20)
result = run(log, page)
expect(result.returncode == 2 and "longer than the limit" in result.stderr, f"300 MiB: {result.stderr[:200]}")

expect(run().returncode == 2 and run(log).returncode == 2, "a call without files is refused")
expect(run(log.with_name("absent"), page).returncode == 2, "an absent log is refused")
log.write_text(good)
for target in (pathlib.Path(folder.name) / "absent" / "x.html", folder.name):
    result = run(log, target)
    said = "cannot write" in result.stderr or "is left as it is" in result.stderr
    expect(result.returncode == 2 and said, f"{target}: {result.stderr}")
expect(not os.path.exists(folder.name + ".partial"), "no temporary file beside a folder")
page.write_text("old")
log.write_text("x\n")
run(log, page)
expect(page.read_text() == "old", "a refused log leaves the page before as it was")

for failure in failures[:50]:
    print(failure)
print("ok" if not failures else f"{len(failures)} failures")
sys.exit(bool(failures))
