"""Writes crates/sparse-train/tests/golden/optimizers.json: five updates of a vector and a matrix by each optimizer.

    python3 -m venv venv && venv/bin/pip install torch transformers==5.24.0
    venv/bin/python xtask/python/golden_optimizers.py crates/sparse-train/tests/golden/optimizers.json

The optimizers are those of torch and transformers, made as transformers' trainer makes them. torch has no Lion, and bitsandbytes
needs a GPU for its own: Lion is written down from Algorithm 2 of the paper (arXiv:2302.06675), in torch.
"""

import json
import sys

import torch
import transformers
from transformers.optimization import Adafactor

RATES = [0.1, 0.08, 0.06, 0.04, 0.02]


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas, weight_decay):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            first, second = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(m * first + p.grad * (1 - first)), alpha=-group["lr"])
                m.mul_(second).add_(p.grad, alpha=1 - second)


def adafactor(params, lr, weight_decay):
    return Adafactor(params, lr=lr, weight_decay=weight_decay, scale_parameter=False, relative_step=False)


CASES = [
    ("adamw_torch", "", 0.0, lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=wd)),
    ("adamw_torch", "", 0.05, lambda p, lr, wd: torch.optim.AdamW(p, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=wd)),
    ("adafactor", "", 0.0, adafactor),
    ("adafactor", "", 0.05, adafactor),
    ("sgd", "", 0.0, lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd)),
    ("sgd", "", 0.05, lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd)),
    ("sgd", "momentum=0.9,dampening=0.2", 0.05, lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9, dampening=0.2)),
    ("sgd", "momentum=0.9,nesterov=true", 0.0, lambda p, lr, wd: torch.optim.SGD(p, lr=lr, weight_decay=wd, momentum=0.9, nesterov=True)),
    ("adagrad", "", 0.0, lambda p, lr, wd: torch.optim.Adagrad(p, lr=lr, weight_decay=wd)),
    ("adagrad", "lr_decay=0.1,eps=1e-6", 0.05, lambda p, lr, wd: torch.optim.Adagrad(p, lr=lr, weight_decay=wd, lr_decay=0.1, eps=1e-6)),
    ("rmsprop", "", 0.0, lambda p, lr, wd: torch.optim.RMSprop(p, lr=lr, weight_decay=wd)),
    ("rmsprop", "alpha=0.9,eps=1e-6,momentum=0.5", 0.05, lambda p, lr, wd: torch.optim.RMSprop(p, lr=lr, weight_decay=wd, alpha=0.9, eps=1e-6, momentum=0.5)),
    ("rmsprop", "centered=true", 0.0, lambda p, lr, wd: torch.optim.RMSprop(p, lr=lr, weight_decay=wd, centered=True)),
    ("rmsprop", "centered=true,momentum=0.5", 0.05, lambda p, lr, wd: torch.optim.RMSprop(p, lr=lr, weight_decay=wd, centered=True, momentum=0.5)),
    ("lion_32bit", "", 0.0, lambda p, lr, wd: Lion(p, lr, (0.9, 0.999), wd)),
    ("lion_32bit", "", 0.05, lambda p, lr, wd: Lion(p, lr, (0.9, 0.999), wd)),
]


def main(path):
    generator = torch.Generator().manual_seed(7)
    starts = [torch.randn(shape, generator=generator) for shape in [(5,), (3, 4)]]
    gradients = [[torch.randn(start.shape, generator=generator) * 2 for start in starts] for _ in RATES]
    cases = []
    for name, options, weight_decay, make in CASES:
        parameters = [start.clone().requires_grad_() for start in starts]
        optimizer = make(parameters, RATES[0], weight_decay)
        steps = []
        for rate, grads in zip(RATES, gradients):
            optimizer.param_groups[0]["lr"] = rate
            for parameter, grad in zip(parameters, grads):
                parameter.grad = grad.clone()
            optimizer.step()
            steps.append([p.detach().flatten().tolist() for p in parameters])
        cases.append({"optim": name, "optim_args": options, "weight_decay": weight_decay, "parameters_after_each_update": steps})
    document = {
        "provenance": f"xtask/python/golden_optimizers.py with torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}, CPU, f32",
        "rates": RATES,
        "shapes": [list(start.shape) for start in starts],
        "parameters": [start.flatten().tolist() for start in starts],
        "gradients": [[g.flatten().tolist() for g in grads] for grads in gradients],
        "cases": cases,
    }
    with open(path, "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
