#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what transformers computes for the cases of cases.py; needs torch and transformers.

    tests/oracle/generate.py [--cases A,B] [--into FOLDER]     FOLDER is tests/oracle/recorded unless named
"""
import argparse
import json
import pathlib
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import save_file
from transformers import MixtralConfig, MixtralForCausalLM

import cases
import truth

RECORDED = pathlib.Path(__file__).resolve().parent / "recorded"
# A band of compare.py is fair where torch's own 32 bits stay within a third of it.
REACHABLE = {"logits": 3e-5, "loss": 3e-6, "gradients": 3e-5, "training_loss": 3e-6, "grad_norm": 3e-5, "after": 3e-6}


def quiet():
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))


def save_checkpoint(case, folder):
    model = MixtralForCausalLM._from_config(MixtralConfig(**cases.configuration(case)), **truth.IMPLEMENTATION)
    values = cases.weights(case, {name: tuple(p.shape) for name, p in model.named_parameters()})
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.tensor(values[name], dtype=torch.float64).reshape(parameter.shape))
    options = {"max_shard_size": case.shard} if case.shard else {}
    model = model.to(getattr(torch, case.dtype))  # from here on these are the weights, in every precision
    model.save_pretrained(folder, save_original_format=not case.fused, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if case.version_4:
        write_json(folder / "config.json", cases.version_4_configuration(case))


def save_gradients(case, model, path):
    """transformers itself gives the gradients their classic names: they are saved as if they were weights."""
    carrier = MixtralForCausalLM._from_config(MixtralConfig(**cases.configuration(case)), dtype=torch.float32)
    with torch.no_grad():
        gradients = {name: p.grad for name, p in model.named_parameters()}
        for name, parameter in carrier.named_parameters():
            parameter.copy_(gradients[name])
    with tempfile.TemporaryDirectory() as folder:
        carrier.save_pretrained(folder)
        shutil.copy(pathlib.Path(folder) / "model.safetensors", path)


def measure(case, folder, dtype):
    """Everything that is recorded, computed in dtype: (values, logits, model with gradients)."""
    data, training = (cases.rows(case, kind, count) for kind, count in (("data", case.rows), ("train", case.train_rows)))
    batch = truth.batch_of(data)
    model = truth.load(folder, dtype)
    with truth.arithmetic(dtype):
        outputs = truth.outputs_of(model, batch, case.aux)
        outputs.loss.backward()
        truth.refuse_softmaxed(outputs)
        tokens, generation_margin = truth.generate(model, cases.prompt(case), cases.GENERATED)
        margin = truth.routing_margin(outputs, batch, case.top_k)
        values = {
            "ce": truth.cross_entropy(outputs, case.aux),
            "aux": outputs.aux_loss.item(),
            "loss": outputs.loss.item(),
            "tokens_per_expert": truth.tokens_per_expert(outputs, batch, case.top_k),
        }
    trained = truth.load(folder, dtype)
    history, training_margin = truth.train(trained, case, training, dtype)
    with truth.arithmetic(dtype), torch.no_grad():
        after = truth.outputs_of(trained, batch, case.aux)
    truth.refuse_what_is_undecided(
        case, {"routing": margin, "routing in training": training_margin, "generation": generation_margin}
    )
    logits = outputs.logits.detach() * batch["attention_mask"].unsqueeze(-1)
    values |= {
        "generated": tokens,
        "history": history,
        "after": {"ce": truth.cross_entropy(after, case.aux), "aux": after.aux_loss.item()},
    }
    return values, logits, model


def largest_difference(left, right):
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def distances(exact, exact_logits, exact_model, single, single_logits, single_model):
    """How far torch's 32 bits are from the truth, in the measures of compare.py."""
    gradient = 0.0
    for name, parameter in exact_model.named_parameters():
        ours = dict(single_model.named_parameters())[name].grad.double()
        largest = parameter.grad.abs().max().item()
        gradient = max(gradient, (ours - parameter.grad).abs().max().item() / largest if largest else ours.abs().max().item())
    return {
        "logits": (exact_logits - single_logits.double()).abs().max().item(),
        "loss": max(abs(exact[key] - single[key]) for key in ("ce", "aux", "loss")),
        "gradients": gradient,
        "training_loss": max(
            largest_difference(exact["history"][key], single["history"][key]) for key in ("loss", "ce", "aux_loss")
        ),
        "grad_norm": max(abs(a / b - 1) for a, b in zip(single["history"]["grad_norm"], exact["history"]["grad_norm"])),
        "after": abs(exact["after"]["ce"] - single["after"]["ce"]),
    }


def record(case, into):
    """Writes into/NAME anew and returns expected.json. Throws ValueError when the case is no fair test."""
    folder = into / case.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_checkpoint(case, folder)
    write_rows(folder / "data.jsonl", cases.rows(case, "data", case.rows))
    write_rows(folder / "train.jsonl", cases.rows(case, "train", case.train_rows))
    values, logits, model = measure(case, folder, torch.float64)
    single = measure(case, folder, torch.float32)
    far = distances(values, logits, model, *single)
    for key, limit in REACHABLE.items():
        if not far[key] <= limit:
            raise ValueError(f"case {case.name}: {key} in 32 bits is {far[key]:.1e} off. Fix: a smaller rate or another seed.")
    for key in ("tokens_per_expert", "generated"):
        if values[key] != single[0][key]:
            raise ValueError(f"case {case.name}: {key} differ between 32 and 64 bits. Fix: another seed.")
    if values["history"]["tokens_per_expert"] != single[0]["history"]["tokens_per_expert"]:
        raise ValueError(f"case {case.name}: tokens of a step go elsewhere in 32 bits. Fix: another seed.")
    if case.starved and any(layer[-1] for layer in values["tokens_per_expert"]):
        raise ValueError(f"case {case.name}: the last expert got tokens: {values['tokens_per_expert']}")
    single_model = truth.load(folder, torch.float32)
    ids = torch.tensor([cases.prompt(case)])
    ours = single_model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=cases.GENERATED, do_sample=False)
    if ours[0, cases.PROMPT :].tolist() != values["generated"]:
        raise ValueError(f"case {case.name}: generate() gives {ours.tolist()}: an end token, or near ties. Fix: another seed.")
    save_file({"logits": logits.float().contiguous()}, folder / "logits.safetensors")
    save_gradients(case, model, folder / "gradients.safetensors")
    history = values.pop("history")
    expected = {
        "name": case.name,
        "about": case.about,
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "parameters": sum(p.numel() for p in model.parameters()),
        "aux_loss_coef": case.aux,
        **{key: values[key] for key in ("ce", "aux", "loss", "tokens_per_expert")},
        "generate": {"ids": cases.prompt(case), "next": values["generated"]},
        "train": {
            "batch": case.batch,
            "steps": case.steps,
            "lr": case.lr,
            "betas": list(case.betas),
            "eps": case.adam_eps,
            "weight_decay": case.decay,
            "clip": case.clip,
            **history,
            "after": values["after"],
            "float32": {key: single[0]["history"][key] for key in ("loss", "grad_norm")},
        },
        "float32_is_off_by": far,
    }
    write_expected(folder / "expected.json", expected)
    for path in folder.iterdir():
        path.chmod(0o644)
    return expected


def write_expected(path, expected):
    """A line for each number of a step would be thousands: lists stay on one line."""

    def lines(value, indent):
        if isinstance(value, dict):
            inner = ",\n".join(f"{indent} {json.dumps(key)}: {lines(item, indent + ' ')}" for key, item in value.items())
            return "{\n" + inner + f"\n{indent}}}"
        return json.dumps(value)

    path.write_text(lines(expected, "") + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", help="names with commas between; all unless given")
    parser.add_argument("--into", type=pathlib.Path, default=RECORDED)
    arguments = parser.parse_args()
    wanted = arguments.cases.split(",") if arguments.cases else [case.name for case in cases.CASES]
    quiet()
    failed = False
    print(f"{'case':<16}{'parameters':>11}{'loss':>9}{'after 50':>10}   torch in 32 bits is off by")
    for case in cases.CASES:
        if case.name not in wanted:
            continue
        try:
            expected = record(case, arguments.into)
        except ValueError as problem:
            print(problem)
            failed = True
            continue
        far = "  ".join(f"{key} {value:.0e}" for key, value in expected["float32_is_off_by"].items())
        last = expected["train"]["loss"][-1]
        print(f"{case.name:<16}{expected['parameters']:>11}{expected['loss']:>9.4f}{last:>10.4f}   {far}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
