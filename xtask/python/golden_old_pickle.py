"""Writes the weights of the golden `encoders/csr/2_SparseAutoEncoder` as PyTorch before 1.6 did: `tests/golden/old-format.bin`.

Made with torch 2.9.0 (CPU); usage: python golden_old_pickle.py crates/sparse-model/tests/golden
"""

import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file

golden = Path(sys.argv[1])
tensors = load_file(golden / "encoders/csr/2_SparseAutoEncoder/model.safetensors")
state = OrderedDict(sorted(tensors.items()))
# One matrix lies column by column, as transposed ones do.
state["decoder.linear.weight"] = state["decoder.linear.weight"].t().contiguous().t()
torch.save(state, golden / "old-format.bin", _use_new_zipfile_serialization=False)
