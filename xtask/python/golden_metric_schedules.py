"""Writes crates/sparse-train/tests/golden/metric_schedules.json: learning rates that follow a metric.

    python3 -m venv venv && venv/bin/pip install torch transformers==5.24.0
    venv/bin/python xtask/python/golden_metric_schedules.py crates/sparse-train/tests/golden/metric_schedules.json

`reduce_lr_on_plateau` is torch's, `greedy` transformers', both made by `transformers.get_scheduler` over two parameter groups.
"""

import json
import random
import sys

import torch
import transformers

RATES = [5e-2, 2e-3]


def main(path):
    random.seed(5)
    noisy = [round(2 / (1 + step / 10) + random.uniform(-0.3, 0.3), 4) for step in range(60)]
    rising = [round(1 - value / 3, 4) for value in noisy]
    falling = [round(3 - step / 25, 4) for step in range(60)]
    flat = falling[:12] + [falling[11]] * 48
    cases = [
        ("reduce_lr_on_plateau", {}, flat),
        ("reduce_lr_on_plateau", {"patience": 2, "factor": 0.5}, noisy),
        ("reduce_lr_on_plateau", {"patience": 2, "factor": 0.5, "cooldown": 3, "min_lr": 1e-3, "threshold": 0.1, "threshold_mode": "abs"}, noisy),
        ("reduce_lr_on_plateau", {"patience": 1, "mode": "max", "factor": 0.7, "eps": 1e-3}, rising),
        ("reduce_lr_on_plateau", {"patience": 0, "mode": "max", "threshold_mode": "abs", "threshold": 0.05, "factor": 0.9}, rising),
        ("greedy", {}, falling),
        ("greedy", {"patience": 1, "factor": 0.8, "min_lr": 1e-4, "max_lr": 0.1}, noisy),
        ("greedy", {"patience": 1, "factor": 0.8, "min_lr": 1e-4, "max_lr": 0.1, "cooldown": 2, "warmup": 3, "smooth": True, "window_size": 4}, noisy),
        ("greedy", {"patience": 0, "factor": 0.3, "min_lr": 1e-3, "max_lr": 0.1, "reset_start": 2, "cooldown": 1}, flat),
        ("greedy", {"patience": 2, "factor": 0.9, "mode": "max", "threshold_mode": "rel", "threshold": 0.01, "min_lr": 0.0}, rising),
    ]
    written = []
    for kind, kwargs, metrics in cases:
        groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": rate} for rate in RATES]
        optimizer = torch.optim.SGD(groups, lr=1.0)
        scheduler = transformers.get_scheduler(kind, optimizer, scheduler_specific_kwargs=dict(kwargs))
        after = []
        for metric in metrics:
            scheduler.step(metric)
            after.append([group["lr"] for group in optimizer.param_groups])
        written.append({"type": kind, "kwargs": kwargs, "metrics": metrics, "rates_after_each": after})
    document = {
        "provenance": f"xtask/python/golden_metric_schedules.py with torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}",
        "rates": RATES,
        "cases": written,
    }
    with open(path, "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main(sys.argv[1])
