# SPDX-License-Identifier: Apache-2.0
"""The cases of the oracle: small Mixtrals made hard on purpose, their weights and their data.

Everything comes from Python's own random module, whose streams stay the same over versions; torch is not needed here.
"""
import dataclasses
import random


@dataclasses.dataclass(frozen=True)
class Case:
    """One model, one batch, one run of training. The seed is chosen so that `truth.refuse_what_is_undecided` accepts it."""

    name: str
    about: str
    hidden: int
    intermediate: int
    vocabulary: int
    layers: int
    heads: int
    kv_heads: int
    experts: int
    top_k: int
    seed: int = 1
    head_dim: int | None = None  # None: hidden / heads, and null in config.json
    theta: float = 1e6
    eps: float = 1e-5
    tied: bool = False
    # Weights
    embedding: float = 0.5  # standard deviation
    gate: float = 1.0  # standard deviation of a router logit is about this: large is peaked, small is flat
    starved: bool = False  # the last expert can never be among the top-k
    # The folder
    dtype: str = "bfloat16"
    fused: bool = False  # save_original_format=False
    shard: str | None = None  # max_shard_size
    version_4: bool = False  # config.json as transformers 4 wrote it
    config_aux: float | None = None  # router_aux_loss_coef of config.json where it is not `aux`, which then wins
    # Data
    length: int = 12
    rows: int = 4
    padding: str = "none"  # none, right, left, mixed (each row its own, also on both sides)
    shortest: int = 5  # real tokens of the shortest row
    # Training. torch rounds the factor of weight decay, 1 - lr * decay, to the precision of the weights. Where these two leave
    # little to round, 32 bits stay close to 64; elsewhere that rounding alone would take half the band.
    aux: float = 0.02
    batch: int = 4
    train_rows: int = 20
    lr: float = 5e-4
    betas: tuple[float, float] = (0.9, 0.95)
    adam_eps: float = 1e-8
    decay: float = 0.1
    clip: float | None = 1.0
    steps: int = 50


CASES = [
    Case("plain", "no padding, two layers, top-2 of 4", 24, 17, 51, 2, 4, 2, 4, 2, theta=1e4),
    Case("right_padding", "one kv head for four heads, head_dim above hidden / heads, top-1", 20, 33, 97, 1, 4, 1, 2, 1,
         head_dim=6, padding="right", rows=5, aux=0.1, clip=None, betas=(0.9, 0.999), decay=0.0, seed=2),
    Case("left_padding", "three kv heads for six heads, three experts", 36, 17, 51, 2, 6, 3, 3, 2, theta=1e4, padding="left",
         eps=1e-6, aux=0.001, lr=2**-10, decay=0.125),
    Case("mixed_padding", "padding on either side and on both, eight experts", 20, 17, 97, 2, 4, 4, 8, 2, head_dim=4,
         padding="mixed", rows=6, shortest=3, aux=0.05, clip=0.5, seed=2),
    Case("eight_heads", "two kv heads for eight heads, tied embeddings, top-3", 32, 17, 51, 2, 8, 2, 4, 3, tied=True,
         embedding=0.3, padding="right", lr=2**-11, decay=0.25),
    Case("tied", "tied embeddings, every expert is chosen, head_dim twice hidden / heads", 20, 33, 97, 1, 4, 2, 2, 2, head_dim=10,
         theta=1e4, tied=True, embedding=0.3, padding="mixed", rows=3, aux=0.5, eps=1e-6),
    Case("peaked", "a router that is sure, top-1 of 6", 36, 9, 51, 2, 6, 3, 6, 1, gate=8.0, padding="left", aux=0.5,
         clip=4.0, seed=3),
    Case("flat", "a router that hardly decides, top-4 of 8", 20, 17, 51, 2, 4, 2, 8, 4, head_dim=8, gate=0.01, aux=0.001,
         padding="mixed", rows=5, theta=1e4, clip=3.0, seed=4),
    Case("starved", "an expert that gets no token", 24, 17, 51, 2, 4, 4, 5, 2, starved=True, gate=3.0, padding="right",
         adam_eps=1e-6, seed=11),
    Case("square_gate_up", "fused on disk with square gate_up_proj (2f = h)", 32, 16, 51, 2, 4, 2, 4, 2, fused=True, aux=0.1,
         padding="mixed", theta=1e4, seed=2),
    Case("square_down", "fused on disk with square down_proj (f = h)", 24, 24, 51, 1, 4, 1, 3, 2, fused=True, padding="left",
         rows=3, decay=0.0),
    Case("sharded", "three layers in several files, top-4 of 4, a large eps", 20, 17, 97, 3, 4, 4, 4, 4, head_dim=6,
         eps=1e-2, embedding=0.1, shard="16KB", padding="mixed", aux=0.0, adam_eps=1e-6, seed=5),
    Case("version_4", "config.json of transformers 4; the coefficient of the command line wins", 24, 17, 51, 1, 4, 2, 4, 2,
         theta=1e4, version_4=True, config_aux=0.001, aux=0.2, padding="right", clip=0.25),
    Case("one_token", "rows of a single real token, which predict nothing", 20, 17, 51, 2, 4, 2, 4, 2, head_dim=6,
         padding="mixed", length=7, rows=6, shortest=1, lr=2**-10, decay=0.25, clip=3.0, batch=6, train_rows=24),
    Case("float32", "weights that no bf16 can hold, in an F32 file", 36, 17, 51, 2, 6, 3, 2, 1, dtype="float32",
         padding="mixed", aux=0.3, betas=(0.8, 0.99), adam_eps=1e-5, lr=2**-9, decay=0.125, clip=2.5, seed=6),
    Case("wide_head", "head_dim far above hidden / heads, a long row", 20, 17, 51, 1, 4, 2, 4, 2, head_dim=16, theta=1e4,
         length=40, rows=3, padding="left", shortest=20, batch=2, train_rows=18, clip=None),
]  # fmt: skip

PROMPT = 4  # tokens
GENERATED = 8


def configuration(case):
    """What MixtralConfig takes."""
    return {
        "vocab_size": case.vocabulary,
        "hidden_size": case.hidden,
        "intermediate_size": case.intermediate,
        "num_hidden_layers": case.layers,
        "num_attention_heads": case.heads,
        "num_key_value_heads": case.kv_heads,
        "head_dim": case.head_dim,
        "num_local_experts": case.experts,
        "num_experts_per_tok": case.top_k,
        "rms_norm_eps": case.eps,
        "rope_parameters": {"rope_type": "default", "rope_theta": case.theta},
        "tie_word_embeddings": case.tied,
        "router_aux_loss_coef": case.aux if case.config_aux is None else case.config_aux,
        "max_position_embeddings": 64,
    }


def version_4_configuration(case):
    """The keys of config.json as transformers 4 wrote them: theta at the top, torch_dtype, no head_dim."""
    config = configuration(case)
    del config["rope_parameters"], config["head_dim"]
    return {
        "architectures": ["MixtralForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "model_type": "mixtral",
        "output_router_logits": False,
        "rope_theta": case.theta,
        "router_jitter_noise": 0.0,
        "sliding_window": None,
        "torch_dtype": case.dtype,
        "transformers_version": "4.36.0",
        "use_cache": True,
        **config,
    }


def weights(case, shapes):
    """{name: row-major values} for {name: shape} of the model in memory (experts stacked)."""
    stream = random.Random(f"{case.name} {case.seed} weights")
    return {name: one_weight(case, stream, name, shape) for name, shape in shapes.items()}


def one_weight(case, stream, name, shape):
    count = 1
    for extent in shape:
        count *= extent
    if "norm" in name:  # far from 1, now and then negative
        return [stream.uniform(0.5, 1.5) * (-1 if stream.random() < 0.15 else 1) for _ in range(count)]
    if "gate.weight" in name:
        rows = [[stream.gauss(0, case.gate * case.hidden**-0.5) for _ in range(case.hidden)] for _ in range(case.experts)]
        if case.starved:
            # Rows in opposite pairs: of each pair one logit is positive, so the logit 0 of the last never is among the top-k.
            for pair in range(case.top_k):
                rows[2 * pair + 1] = [-value for value in rows[2 * pair]]
            rows[-1] = [0.0] * case.hidden
        return [value for row in rows for value in row]
    deviation = case.embedding if "embed" in name else 1.2 * shape[-1] ** -0.5
    return [stream.gauss(0, deviation) for _ in range(count)]


def rows(case, kind, count):
    """`count` rows as data files hold them; kind tells the streams apart."""
    stream = random.Random(f"{case.name} {case.seed} {kind}")
    return [one_row(case, stream, number) for number in range(count)]


def one_row(case, stream, number):
    real = case.length
    if case.padding != "none" and number % 4:  # every fourth row is full
        real = stream.randint(case.shortest, case.length - 1)
        if case.shortest == 1 and number % 4 == 1:
            real = 1
    space = case.length - real
    left = {"none": 0, "right": 0, "left": space, "mixed": stream.choice([0, space, stream.randint(0, space)])}[case.padding]
    # Padding holds tokens like any other: whoever reads them by mistake gets other numbers.
    ids = [stream.randrange(case.vocabulary) for _ in range(case.length)]
    mask = [1 if left <= position < left + real else 0 for position in range(case.length)]
    labels = [token if seen and stream.random() > 0.15 else -100 for token, seen in zip(ids, mask)]
    labels[left] = -100  # after padding on the left transformers would predict it from the padding
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def prompt(case):
    stream = random.Random(f"{case.name} {case.seed} prompt")
    return [stream.randrange(3, case.vocabulary) for _ in range(PROMPT)]
