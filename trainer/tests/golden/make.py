#!/usr/bin/env python3
"""Makes baseline.json: figures of the PyTorch reference model that the trainer's model and optimizer must reproduce.

    python make.py --reference PATH/throughput.py > baseline.json

Needs torch 2.11.0, on the CPU. The reference brings the model (GPT) and the optimizer (Optimizer); this script gives
every parameter and token a value by formula, so nothing here depends on a random generator:

    parameter element i: scale * sin(0.001 i^2 + i + phase) + offset      tokens: (37 row + 11 time + time^2) mod vocab

It records logits, loss and gradients before training, how the first step changes the parameters, then the losses of ten steps on
the same batch and the parameters after them.

The fp32 figures run the reference's Muon in fp32, which the reference itself never does: it runs Muon's iterations in bf16 even
when the rest is fp32. They lift the smallest singular values of a gradient, which in bf16 are rounding noise, to order one: a
change of 1e-8 in a weight moves the result by 1e-2, and no two implementations can agree to 1e-4. So for the fp32 figures
`Tensor.bfloat16` is made to return fp32; the trainer does the same by its setting's precision.
"""
import argparse, importlib.util, json, types

import torch

SHAPE = dict(depth=4, dim=128, head_dim=32, vocab=256, seq=64, batch=4)
STEPS, SAMPLES = 10, 12


def named(model):
    """The reference's parameters under the trainer's names, with their formula's scale and offset."""
    width = 2.0 * SHAPE["dim"] ** -0.5
    yield "embedding", model.embed.weight, 1.0, 0.0
    for layer, block in enumerate(model.blocks):
        for name, module in [("query", block.attn.q), ("key", block.attn.k), ("value", block.attn.v),
                             ("output", block.attn.out), ("up", block.up), ("down", block.down)]:
            yield f"blocks.{layer}.{name}", module.weight, width, 0.0
        if block.attn.gate is not None:
            yield f"blocks.{layer}.value_embedding", model.value_embeds[str(layer)].weight, 0.5, 0.0
            yield f"blocks.{layer}.gate", block.attn.gate.weight, 0.2, 0.0
    yield "head", model.head.weight, 0.1, 0.0
    yield "residual", model.resid, 0.2, 1.0
    yield "skip", model.skip, 0.05, 0.1


def sample(tensor):
    """The norm and evenly spaced elements."""
    flat = tensor.detach().double().flatten()
    at = [i * flat.numel() // SAMPLES for i in range(SAMPLES)] if flat.numel() > SAMPLES else range(flat.numel())
    return {"norm": flat.norm().item(), "values": [flat[i].item() for i in at]}


def figures(reference, precision):
    model = reference.GPT(types.SimpleNamespace(**SHAPE))
    formula = []
    with torch.no_grad():
        for phase, (name, parameter, scale, offset) in enumerate(named(model)):
            i = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(i * i * 0.001 + i + phase) * scale + offset).view_as(parameter))
            formula.append({"name": name, "phase": phase, "scale": scale, "offset": offset})
    row, time = torch.arange(SHAPE["batch"])[:, None], torch.arange(SHAPE["seq"] + 1)[None, :]
    tokens = (37 * row + 11 * time + time * time) % SHAPE["vocab"]
    x, y = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    seen = []
    model.head.register_forward_hook(lambda module, inputs, output: seen.append(output.detach().float()))
    optimizer = reference.Optimizer(model, False)
    losses, gradients, first = [], None, None
    before = {name: parameter.detach().clone() for name, parameter, _, _ in named(model)}
    for step in range(STEPS + 1):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(x, y)
        losses.append(loss.item())
        if step == STEPS:
            break
        loss.backward()
        if gradients is None:
            gradients = {name: sample(parameter.grad) for name, parameter, _, _ in named(model)}
        optimizer.step()
        if first is None:
            first = {name: sample(parameter - before[name]) for name, parameter, _, _ in named(model)}
        for parameter in model.parameters():
            parameter.grad = None
    return formula, {
        "logits": sample(15 * torch.tanh(seen[0] / 15)),
        "gradients": gradients,
        "first_change": first,
        "losses": losses,
        "parameters": {name: sample(parameter) for name, parameter, _, _ in named(model)},
    }


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--reference", required=True, help="throughput.py of the reference")
    spec = importlib.util.spec_from_file_location("reference", p.parse_args().reference)
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    _, bf16 = figures(reference, "bf16")
    torch.Tensor.bfloat16 = torch.Tensor.float
    formula, fp32 = figures(reference, "fp32")
    document = {"torch": torch.__version__.split("+")[0], "shape": SHAPE, "formula": formula, "fp32": fp32, "bf16": bf16}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
