#!/usr/bin/env python3
"""Losses of the reference model on text that a formula makes: what `trainer/examples/losses.rs` trains on, too.

    python losses.py SEED STEPS bf16|fp32

Prints the loss of each step, one a line. Model and optimizer are throughput.py's; initial values are drawn from the trainer's
distributions, since PyTorch's own are others.
"""
import argparse, os, sys

import torch

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import throughput

ROWS, CONTEXT, VOCABULARY = 16, 256, 2048


def wrapped(number):
    """The int64 of the same bits as a uint64: torch's arithmetic on int64 wraps, so it serves for both."""
    return number - (1 << 64) if number >= 1 << 63 else number


def down(z, by):
    """A logical shift to the right."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def mix(z):
    """SplitMix64's finalizer."""
    z = z + wrapped(0x9E3779B97F4A7C15)
    z = (z ^ down(z, 30)) * wrapped(0xBF58476D1CE4E5B9)
    z = (z ^ down(z, 27)) * wrapped(0x94D049BB133111EB)
    return z ^ down(z, 31)


def rows(step):
    """A step's rows, [16, 257]: each token follows from the two before it and from one of sixteen chances."""
    first = torch.arange(ROWS) + step * ROWS
    chances = mix((first << 16)[:, None] + torch.arange(CONTEXT + 1)[None, :] + (1 << 60)) & 15
    before, token, columns = torch.zeros_like(first), mix(first) & (VOCABULARY - 1), []
    for place in range(CONTEXT + 1):
        columns.append(token)
        before, token = token, (5 * token + 3 * (before % 2) + 1 + chances[:, place]) % VOCABULARY
    return torch.stack(columns, 1)


def draw(model, dim):
    """The trainer's initial values."""
    bound = 3**0.5 * dim**-0.5
    with torch.no_grad():
        model.embed.weight.normal_(0, 1)
        model.head.weight.normal_(0, 0.001)
        for table in model.value_embeds.values():
            table.weight.uniform_(-bound, bound)
        for block in model.blocks:
            for module in (block.attn.q, block.attn.k, block.attn.v, block.up):
                module.weight.uniform_(-bound, bound)
            for module in (block.attn.out, block.down, block.attn.gate):
                if module is not None:
                    module.weight.zero_()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("seed", type=int)
    p.add_argument("steps", type=int)
    p.add_argument("dtype", choices=["bf16", "fp32"])
    a = p.parse_args()
    torch.manual_seed(a.seed)
    shape = argparse.Namespace(depth=4, dim=256, head_dim=64, vocab=VOCABULARY, seq=CONTEXT)
    model = throughput.GPT(shape)
    draw(model, shape.dim)
    optimizer = throughput.Optimizer(model, False)
    for step in range(1, a.steps + 1):
        text = rows(step)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.dtype == "bf16"):
            loss = model(text[:, :-1].contiguous(), text[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        for q in model.parameters():
            q.grad = None
        print(loss.item(), flush=True)


if __name__ == "__main__":
    main()
