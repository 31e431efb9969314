#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The model tool from outside: the sources it writes, what it refuses, and how it calls a compiler.

    tests/model_program.py TOOL [--compile]

Compilers are played by scripts, so nothing is compiled; --compile lets g++ check one source and refuse one layout.
Sources are compared with what clang-format makes of them where .venv has it.
"""
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile

TOOL = os.path.abspath(sys.argv[1])
COMPILE = "--compile" in sys.argv[2:]
ROOT = pathlib.Path(__file__).resolve().parent.parent
CLANG_FORMAT = ROOT / ".venv" / "bin" / "clang-format"
SMALL = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 10000.0, "torch_dtype": "bfloat16"}  # fmt: skip
failures = []


def run(*arguments, **environment):
    words = [TOOL, *map(str, arguments)]
    env = {**os.environ, "LC_ALL": "C", "CXX": "false", **environment}  # no compiler by mistake: it takes minutes
    return subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=300, env=env)


def expect(condition, what):
    if not condition:
        failures.append(what)


def refused(text, *arguments):
    """Exit code 2, nothing on stdout, an error that holds `text` and says what to do."""
    result = run(*arguments)
    good = result.returncode == 2 and not result.stdout and text in result.stderr and "Fix: " in result.stderr and len(result.stderr) < 8000
    expect(good, f"{arguments}: expected a refusal with {text!r}, got {result.returncode}: {result.stderr[:300]!r}")


def written(config, program, *arguments):
    """The text of PROGRAM.cpp."""
    result = run(config, "-o", program, "--source-only", *arguments)
    expect(result.returncode == 0 and not result.stderr, f"{arguments}: {result.returncode} {result.stderr}")
    expect(result.stdout == f"{program}.cpp\n", f"{arguments}: prints {result.stdout!r}")
    return pathlib.Path(f"{program}.cpp").read_text()


def formatted(source, what):
    if not CLANG_FORMAT.exists():
        return
    words = [CLANG_FORMAT, f"--style=file:{ROOT / '.clang-format'}"]
    expect(subprocess.run(words, input=source, capture_output=True, text=True).stdout == source, f"{what}: clang-format would change it")


def check_sources(folder):
    config = folder / "config.json"
    program = folder / "program"
    config.write_text(json.dumps(SMALL))
    expect(written(folder, program).splitlines()[1:] == written(config, program).replace("/config.json as", " as").splitlines()[1:], "a folder and its file give the same source")
    first = written(config, program)
    expect(written(config, program) == first, "the same choices give the same source")
    formatted(first, "plain")
    large = {key: 2**30 if isinstance(value, int) else value for key, value in SMALL.items()}
    large |= {"head_dim": 2**30 - 2, "tie_word_embeddings": True, "rms_norm_eps": 1.2345678901234567e-300, "bos_token_id": None}
    for model in (SMALL, SMALL | {"tie_word_embeddings": True, "head_dim": 6}, SMALL | {"num_hidden_layers": 123456}, large):
        config.write_text(json.dumps(model))
        for router in ("transformers", "transformers-sequence", "megatron", "megatron-sequence", "none", "sinkhorn", "sinkhorn-round"):
            for dispatcher in ("all-to-all", "all-gather"):
                choices = ["--router", router, "--dispatcher", dispatcher, "--world", "16777216", "--expert-parallel", "1073741824"]
                formatted(written(config, program, *choices), choices)
        # Degrees are the compiler's to refuse, not the tool's.
        formatted(written(config, program, "--recompute", "--world=-2147483648", "--expert-parallel=-2147483648", "--shard=-2147483648"), "longest")
    config.write_text(json.dumps(SMALL))
    source = written(config, program, "--world", "8", "--expert-parallel", "3", "--shard", "0")
    expect("ranks = 8, expert_degree = 3, shard_degree = 0;" in source, "degrees stand in the source as they were given")


def check_refusals(folder):
    config = folder / "config.json"
    config.write_text(json.dumps(SMALL))
    out = ["-o", folder / "refused"]
    refused("--help lists the options", config)
    refused("--help lists the options", *out)
    refused("--bogus", config, *out, "--bogus")
    refused("--world", config, *out, "--world", "many")
    refused("--world", config, *out, "--world", "9999999999")
    refused("no router 'x'", config, *out, "--router", "x")
    refused("no dispatcher ''", config, *out, "--dispatcher", "")
    refused("contradict", config, *out, "--keep", "--force")
    refused("is no file", folder / "absent", *out)
    refused("is no file", "/dev/zero", *out)
    refused("is a folder", config, "-o", folder)
    refused("names no file", config, "-o", f"{folder}/")
    refused("names a source", config, "-o", folder / "program.cpp")
    refused("could not be written", config, "-o", folder / "absent" / "program", "--source-only")
    refused("is the config.json itself", config, "-o", config)
    refused("is the config.json itself", config, "-o", f"{folder}/../{folder.name}/config.json")
    os.mkfifo(folder / "pipe")
    refused("is no file", folder / "pipe", *out)
    os.symlink("nowhere", folder / "dangling.cpp")
    refused("is no file", config, "-o", folder / "dangling", "--source-only")
    for model, text in [
        (SMALL | {"new_field": 1}, 'the field "new_field" (1) is not known'),
        (SMALL | {"sliding_window": 4096}, "sliding_window is 4096"),
        (SMALL | {"model_type": "llama"}, "reads a mixtral"),
        (SMALL | {"num_key_value_heads": 3}, "KvHeads must divide Heads"),
        (SMALL | {"quantization_config": {"bits": 4}, "mlp_bias": True}, "has 2 problems"),
        (SMALL | {f"field{i}": "x" * 1000 for i in range(500)}, "and 480 more"),
    ]:
        config.write_text(json.dumps(model))
        refused(text, config, *out)
    for text, error in [("", "is no JSON"), ("[" * 100000, "nested more than 16 deep"), ("{}\0", "holds a NUL byte"), (" " * 2000000, "larger than 1 MiB"), ('{"a": 1, "a": 1}', "stands twice")]:
        config.write_text(text)
        refused(error, config, *out)
    expect(not list(folder.glob("refused*")) and not list(folder.glob("*.partial")), "a refusal leaves nothing behind")
    config.write_text(json.dumps(SMALL))


def check_overwriting(folder):
    config, program, source = folder / "config.json", folder / "kept", folder / "kept.cpp"
    text = written(config, program)
    expect(written(config, program, "--world", "2") != text, "what it wrote itself is written anew")
    for edited in (text + "// mine\n", text.replace("layers = 2", "layers = 3"), "int main() {}\n", "", text.split("\n", 1)[0], "// mine\n" + text):
        source.write_text(edited)
        refused("was edited since", config, "-o", program, "--source-only")
        refused("was edited since", config, "-o", program)
        expect(source.read_text() == edited, "a refusal leaves an edited file as it is")
        expect(run(config, "-o", program, "--source-only", "--keep").returncode == 0 and source.read_text() == edited, "--keep keeps")
        expect(run(config, "-o", program, "--source-only", "--force").returncode == 0 and source.read_text() == text, "--force writes")
    expect(run(config, "-o", source, "--source-only").returncode == 0, "--source-only takes the name of the source too")
    expect(not (folder / "kept.cpp.cpp").exists(), "and writes that")


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def check_compilers(folder):
    config = folder / "config.json"
    hostile = folder / "it's a \"folder\"; touch pwned $(touch pwned)"
    hostile.mkdir()
    program = hostile / "-O3 program"
    compiler = script(hostile / "com piler", 'printf "%s\\n" "$@" >"$0.words"\nfor last; do :; done\necho built >"$last"\necho a warning >&2\n')
    result = run(config, "-o", program, "--compiler", compiler, "--flags", " -O1  -g ", "--include", hostile)
    expect(result.returncode == 0 and program.read_text() == "built\n", f"a compiler in a hostile folder: {result}")
    words = pathlib.Path(f"{compiler}.words").read_text().splitlines()
    expect(words == ["-std=c++20", "-O1", "-g", "-I", str(hostile), f"{program}.cpp", "-pthread", "-o", f"{program}.partial"], f"its words: {words}")
    shown = subprocess.run(["sh", "-c", 'printf "%s\\n" ' + result.stdout.splitlines()[0]], capture_output=True, text=True).stdout
    expect(shown.splitlines() == [str(compiler), *words], f"a shell reads the command that is shown as it was: {shown}")
    expect(result.stderr == "a warning\n", "warnings are shown")
    expect(not list(folder.rglob("pwned")), "no shell reads a path")

    cxx = script(folder / "cxx", 'echo "$1" >"$(dirname "$0")/first"\nexit 0\n')
    refused_result = run(config, "-o", folder / "empty", CXX=f"{cxx} wrapped")
    expect(refused_result.returncode == 2 and "wrote no program" in refused_result.stderr, "a compiler that writes nothing")
    expect((folder / "first").read_text() == "wrapped\n", "CXX may be several words")
    missing = run(config, "-o", folder / "empty", "--compiler", folder / "absent")
    expect(missing.returncode == 2 and "could not be started" in missing.stderr, f"no compiler: {missing}")

    sentence = "moepar::ExpertParallel: Degree must divide the number of experts. Fix: choose a Degree that divides it."
    old = folder / "old"
    old.write_text("an older program\n")
    for line in (
        f"x.hpp:30:17: error: static assertion failed: {sentence}",
        f"x.hpp:30:3: error: static assertion failed due to requirement 'moepar::ok<3L, 8L>': {sentence}",
        f'x.hpp:30:3: error: static assertion failed due to requirement \'moepar::ok<3L, 8L>\' "{sentence}"',
        f'x.hpp(30): error: static assertion failed with "{sentence}"',
    ):
        (folder / "says").write_text(f"In file included\n{line}\nnote: more\n")
        failing = script(folder / "failing", f'cat "{folder}/says"\nfor last; do :; done\necho half >"$last"\nexit 3\n')
        result = run(config, "-o", old, "--compiler", failing)
        expect(result.returncode == 1, f"exit code 1, not {result.returncode}")
        expect(result.stderr == f"{sentence}\n\nIn file included\n{line}\nnote: more\n", f"the sentence first: {result.stderr}")
    (folder / "says").write_text("error: static assertion failed: of somebody else\n")
    expect(run(config, "-o", old, "--compiler", failing).stderr == "error: static assertion failed: of somebody else\n", "errors as they are")
    killed = run(config, "-o", old, "--compiler", script(folder / "killed", "kill -9 $$\n"))
    expect(killed.returncode == 1 and "signal 9" in killed.stderr, f"a killed compiler: {killed}")
    expect(old.read_text() == "an older program\n" and not list(folder.glob("*.partial")), "a failure leaves the older program")

    edited = folder / "edited.cpp"
    edited.write_text("// mine\n")
    expect(run(config, "-o", folder / "edited", "--keep", "--compiler", compiler).returncode == 0, "--keep compiles")
    expect(edited.read_text() == "// mine\n" and (folder / "edited").exists(), "an edited source as it is")


def check_compiles(folder):
    config = folder / "config.json"
    source = f"{folder}/real.cpp"
    written(config, folder / "real", "--world", "4", "--expert-parallel", "2", "--shard", "2", "--dispatcher", "all-gather", "--recompute")
    words = ["g++", "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "include", source]
    result = subprocess.run(words, capture_output=True, text=True)
    expect(result.returncode == 0, f"the source does not compile: {result.stderr}")
    result = run(config, "-o", folder / "wrong", "--world", "3", "--expert-parallel", "3", "--flags", "-O0", "--compiler", "g++")
    expect(result.returncode == 1 and result.stderr.startswith("moepar::ExpertParallel: Degree must divide the number of experts."), f"a wrong degree: {result}")


for check in (check_sources, check_refusals, check_overwriting, check_compilers) + ((check_compiles,) if COMPILE else ()):
    with tempfile.TemporaryDirectory() as name:
        temporary = pathlib.Path(name)
        (temporary / "config.json").write_text(json.dumps(SMALL))
        os.chdir(temporary)  # where a path that became a command would leave its trace
        check(temporary)
        os.chdir(ROOT)
expect("PROGRAM.cpp" in run("--help").stdout, "--help")

for failure in failures:
    print(failure)
print(f"{len(failures)} failures")
sys.exit(bool(failures))
