#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The same training step as bench/step.cpp by transformers and torch, as installed: prints one line.

    bench/peers/step.py [a|c] [SECONDS]     needs torch and transformers in the Python that runs it
"""
import resource
import sys
import time

CONFIGURATIONS = {
    # vocabulary, hidden, intermediate, layers, heads, kv heads, sequences, length
    "a": ("a tiny", 2048, 256, 512, 4, 8, 2, 8, 256),
    "c": ("c char", 65, 64, 96, 2, 4, 2, 8, 128),
}


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else "a"
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10.0
    if name not in CONFIGURATIONS:
        sys.exit(f"step.py: there is no configuration '{name}'. Fix: step.py [a|c] [seconds]")
    import torch
    import transformers

    title, vocabulary, hidden, intermediate, layers, heads, kv_heads, sequences, length = CONFIGURATIONS[name]
    torch.manual_seed(1)
    config = transformers.MixtralConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv_heads, num_local_experts=8, num_experts_per_tok=2,
        max_position_embeddings=length, sliding_window=None,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    ids = torch.randint(vocabulary, (sequences, length))

    def step():
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    for _ in range(2):
        step()
    begin, best, steps = time.perf_counter(), float("inf"), 0
    while steps < 3 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
        steps += 1
    mean = (time.perf_counter() - begin) / steps
    tokens = sequences * length
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{title:8} torch {torch.__version__}, transformers {transformers.__version__}, f32 as installed, "
          f"{torch.get_num_threads()} threads  {tokens / mean:8.0f} tokens/s (best {tokens / best:8.0f})  {memory:6.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
