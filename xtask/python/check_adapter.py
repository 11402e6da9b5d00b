"""Checks that low-rank adapters move between PEFT, sentence-transformers and this program.

    python3 -m venv venv && venv/bin/pip install sentence-transformers==6.2.0 peft
    cargo build -p sparse-cli
    venv/bin/python xtask/python/check_adapter.py target/debug/sparse-encoder crates/sparse-model/tests/golden/encoders/splade-max

Makes an adapter in Python on the given SPLADE encoder, gives it random factors and saves it twice: by sentence-transformers and by
PEFT alone. Our binary encodes with both and saves the first again; that copy is loaded by sentence-transformers and by PEFT.
Every pair of embeddings must be equal to 1e-4 of a row's largest weight, and merging must not change them. Exits with 1 otherwise.
"""

import os
import subprocess
import sys
import tempfile

from check_directory import LIMIT, TEXTS, difference, ours

os.environ["HF_HUB_OFFLINE"] = "1"


def by_hand(model, tokenizer):
    """SPLADE vectors of a masked-language model: max over tokens of ln(1 + relu(logit))."""
    import torch

    rows = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        rows.append(torch.log1p(torch.relu(logits)).max(dim=0).values.numpy())
    import numpy

    return numpy.stack(rows)


def main(binary, base):
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from sentence_transformers import SparseEncoder
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    torch.manual_seed(0)
    base = os.path.abspath(base)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION")
    model = SparseEncoder(base, device="cpu")
    model.add_adapter(config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2)
    expected = model.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    plain = SparseEncoder(base, device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
    print(f"the adapter changes embeddings by {difference(plain, expected):.2f}")
    width = expected.shape[1]
    results = []

    def compare(what, rows):
        results.append(difference(rows, expected))
        print(f"{'ok' if results[-1] <= LIMIT else 'FAILED':<7}{what}: {results[-1]:.1e}", flush=True)

    def convert(source, target, *more):
        command = [binary, "convert", "--model", source, "--output", target, "--quiet", *more]
        subprocess.run(command, check=True, capture_output=True, text=True)

    with tempfile.TemporaryDirectory() as folder:
        theirs, peft_only, copy, merged = (os.path.join(folder, name) for name in ("st", "peft", "copy", "merged"))
        model.save_pretrained(theirs)
        compare("saved by sentence-transformers, encoded by us", ours(binary, theirs, "document", width))

        bare = get_peft_model(AutoModelForMaskedLM.from_pretrained(base), config)
        values = {name.split("model.", 1)[1]: value for name, value in model.state_dict().items() if "lora_" in name}
        for name, parameter in bare.named_parameters():
            if "lora_" in name:
                parameter.data.copy_(values[name.split("base_model.model.", 1)[1]])
        bare.save_pretrained(peft_only)
        tokenizer = AutoTokenizer.from_pretrained(base)
        compare("PEFT's own model", by_hand(bare, tokenizer))
        compare("saved by PEFT, encoded by us", ours(binary, peft_only, "document", width))

        convert(theirs, copy)
        compare("saved by us, encoded by us", ours(binary, copy, "document", width))
        loaded = SparseEncoder(copy, device="cpu")
        rows = loaded.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
        compare("saved by us, encoded by sentence-transformers", rows)
        loaded = PeftModel.from_pretrained(AutoModelForMaskedLM.from_pretrained(base), copy)
        compare("saved by us, loaded by PEFT", by_hand(loaded, tokenizer))

        convert(theirs, merged, "--merge-adapter")
        assert not os.path.exists(os.path.join(merged, "adapter_config.json"))
        rows = SparseEncoder(merged, device="cpu").encode_document(TEXTS, convert_to_sparse_tensor=False).numpy()
        compare("merged by us, encoded by sentence-transformers", rows)
    return 1 if max(results) > LIMIT else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
