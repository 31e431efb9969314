# SPDX-License-Identifier: Apache-2.0
"""What transformers computes, in 32 bits as it is and in 64 bits throughout.

transformers turns norms, softmax, rotary angles and losses to float32 whatever the type of the model. `InDouble` turns every
such request to float64, so that the same code becomes the truth to hold 32-bit programs against.
"""
import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MixtralForCausalLM

torch.set_num_threads(1)
IMPLEMENTATION = {"attn_implementation": "eager", "experts_implementation": "eager"}


class InDouble(TorchFunctionMode):
    """float32 where code asks for it by name becomes float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def widened(value):
            return torch.float64 if value is torch.float32 else value

        if function is torch.Tensor.float:
            function = torch.Tensor.double
        return function(*map(widened, args), **{key: widened(value) for key, value in (kwargs or {}).items()})


class NoFloat32(TorchDispatchMode):
    """Refuses an operation that answers in float32, which `InDouble` then does not know."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        answer = function(*args, **(kwargs or {}))
        for tensor in answer if isinstance(answer, (tuple, list)) else [answer]:
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float32 and tensor.numel() > 1:
                raise TypeError(f"{function} answers in float32 within a computation in float64")
        return answer


@contextlib.contextmanager
def arithmetic(dtype):
    """Everything inside computes in dtype."""
    if dtype == torch.float64:
        with InDouble(), NoFloat32():
            yield
    else:
        yield


def load(folder, dtype):
    """The model of a folder, computing in dtype throughout."""
    model = MixtralForCausalLM.from_pretrained(folder, dtype=torch.float32, **IMPLEMENTATION)
    if dtype == torch.float64:
        model = model.double()
        rotary = model.model.rotary_emb
        with InDouble():
            rotary.inv_freq = rotary.compute_default_rope_parameters(model.config)[0]
    return model.eval()


def batch_of(rows):
    return {key: torch.tensor([row[key] for row in rows]) for key in ("input_ids", "attention_mask", "labels")}


def outputs_of(model, batch, coefficient):
    """transformers' own forward with the auxiliary loss of this coefficient."""
    model.router_aux_loss_coef = coefficient
    return model(**batch, output_router_logits=True, use_cache=False)


def cross_entropy(outputs, coefficient):
    return outputs.loss.item() - coefficient * outputs.aux_loss.item()


def real_router_logits(outputs, batch):
    """Of each layer the rows [real tokens, experts]."""
    real = batch["attention_mask"].reshape(-1).bool()
    return [layer.detach()[real] for layer in outputs.router_logits]


def tokens_per_expert(outputs, batch, top_k):
    """[layers][experts], without padding."""
    counts = []
    for layer in real_router_logits(outputs, batch):
        chosen = torch.topk(layer, top_k).indices.reshape(-1)
        counts.append(torch.bincount(chosen, minlength=layer.shape[1]).tolist())
    return counts


def routing_margin(outputs, batch, top_k):
    """The smallest distance between the last chosen and the first refused logit, relative to the largest logit."""
    margin = float("inf")
    for layer in real_router_logits(outputs, batch):
        ordered = layer.sort(descending=True).values
        if top_k < ordered.shape[1]:
            margin = min(margin, ((ordered[:, top_k - 1] - ordered[:, top_k]).min() / layer.abs().max()).item())
    return margin


def refuse_what_is_undecided(case, margins):
    """Near ties would make right programs differ. margins: {what: relative distance}."""
    for what, margin in margins.items():
        if margin < 3e-5:
            raise ValueError(f"case {case.name}, seed {case.seed}: {what} is decided by {margin:.1e} only. Fix: another seed.")


def refuse_softmaxed(outputs):
    """Some versions of transformers give probabilities where logits are meant, and then take the softmax twice."""
    for layer in outputs.router_logits:
        sums = layer.sum(dim=1)
        if layer.min() >= 0 and torch.allclose(sums, torch.ones_like(sums)):
            raise ValueError("router_logits are probabilities. Fix: transformers 4.57 or 5.5 and later.")


def train(model, case, rows, dtype):
    """Trains the model as transformers with torch's AdamW does, batches in file order. Returns the numbers of each step and the
    smallest routing margin."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=case.lr, betas=case.betas, eps=case.adam_eps, weight_decay=case.decay)
    history = {"loss": [], "ce": [], "aux_loss": [], "grad_norm": [], "tokens_per_expert": []}
    margin = float("inf")
    with arithmetic(dtype):
        model.train()
        for step in range(case.steps):
            first = step * case.batch % len(rows)
            batch = batch_of(rows[first : first + case.batch])
            optimizer.zero_grad()
            outputs = outputs_of(model, batch, case.aux)
            outputs.loss.backward()
            limit = float("inf") if case.clip is None else case.clip
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), limit)
            optimizer.step()
            history["loss"].append(outputs.loss.item())
            history["ce"].append(cross_entropy(outputs, case.aux))
            history["aux_loss"].append(outputs.aux_loss.item())
            history["grad_norm"].append(norm.item())
            history["tokens_per_expert"].append(tokens_per_expert(outputs, batch, case.top_k))
            margin = min(margin, routing_margin(outputs, batch, case.top_k))
        model.eval()
    return history, margin


def generate(model, prompt, count):
    """Greedy continuation, and the smallest distance between the best and the second logit."""
    ids, margin = list(prompt), float("inf")
    for _ in range(count):
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].detach()
        best = logits.topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item() / logits.abs().max().item())
        ids.append(best.indices[0].item())
    return ids[len(prompt) :], margin
