"""Variants of a small BERT-based SPLADE model, to see what of it matters as a base model.

    pip install safetensors numpy
    python base_models.py examples/data/splade-tiny-bert TARGET_FOLDER

Writes `shallow`, the model without its last layer, and `scratch`, the same shapes with random weights as BERT begins with. Each is
then trained like the model itself:

    sparse-encoder train examples/quickstart.toml --set model.name_or_path=TARGET_FOLDER/shallow
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file


def copy(source, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return load_file(target / "model.safetensors"), json.loads((target / "config.json").read_text())


def write(target, tensors, config):
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def shallow(source, target):
    tensors, config = copy(source, target)
    last = config["num_hidden_layers"] - 1
    config["num_hidden_layers"] = last
    write(target, {name: values for name, values in tensors.items() if f".layer.{last}." not in name}, config)


def scratch(source, target):
    tensors, config = copy(source, target)
    random = np.random.default_rng(0)
    for name, values in tensors.items():
        if "LayerNorm.weight" in name:
            tensors[name] = np.ones_like(values)
        elif name.endswith("bias"):
            tensors[name] = np.zeros_like(values)
        else:
            tensors[name] = random.normal(0.0, config["initializer_range"], values.shape).astype(values.dtype)
    write(target, tensors, config)


def main():
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    shallow(source, target / "shallow")
    scratch(source, target / "scratch")


if __name__ == "__main__":
    main()
