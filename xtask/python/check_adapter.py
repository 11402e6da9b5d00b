"""Checks that low-rank adapters move between PEFT, sentence-transformers and this program.

    python3 -m venv venv && venv/bin/pip install sentence-transformers==6.2.0 peft
    cargo build -p sparse-cli
    venv/bin/python xtask/python/check_adapter.py target/debug/sparse-encoder crates/sparse-model/tests/golden/encoders/splade-max

Makes an adapter in PEFT on the given SPLADE encoder, gives it random factors and saves it. Our binary encodes with it and saves it
again; that copy is loaded by PEFT and, where transformers takes the installed PEFT, by sentence-transformers. Every pair of
embeddings must be equal to 1e-4 of a row's largest weight, and merging must not change them. Exits with 1 otherwise.
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
    tokenizer = AutoTokenizer.from_pretrained(base)
    fresh = lambda: AutoModelForMaskedLM.from_pretrained(base).eval()
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="FEATURE_EXTRACTION")
    model = get_peft_model(fresh(), config).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2)
    expected = by_hand(model, tokenizer)
    print(f"the adapter changes embeddings by {difference(by_hand(fresh(), tokenizer), expected):.2f}")
    width = expected.shape[1]
    results = []

    def compare(what, rows):
        results.append(difference(rows, expected))
        print(f"{'ok' if results[-1] <= LIMIT else 'FAILED':<7}{what}: {results[-1]:.1e}", flush=True)

    def convert(source, target, *more):
        command = [binary, "convert", "--model", source, "--output", target, "--quiet", *more]
        subprocess.run(command, check=True, capture_output=True, text=True)

    def encoded_in_python(what, directory):
        try:
            model = SparseEncoder(directory, device="cpu")
        except ValueError as error:
            # transformers has a least version of PEFT.
            if "version of PEFT" not in str(error):
                raise
            print(f"skipped {what}: {error}")
            return
        compare(what, model.encode_document(TEXTS, convert_to_sparse_tensor=False).numpy())

    with tempfile.TemporaryDirectory() as folder:
        theirs, copy, merged = (os.path.join(folder, name) for name in ("theirs", "copy", "merged"))
        model.save_pretrained(theirs)
        compare("saved by PEFT, encoded by us", ours(binary, theirs, "document", width))
        convert(theirs, copy)
        compare("saved by us, encoded by us", ours(binary, copy, "document", width))
        compare("saved by us, loaded by PEFT", by_hand(PeftModel.from_pretrained(fresh(), copy).eval(), tokenizer))
        encoded_in_python("saved by us, encoded by sentence-transformers", copy)
        convert(theirs, merged, "--merge-adapter")
        assert not os.path.exists(os.path.join(merged, "adapter_config.json"))
        encoded_in_python("merged by us, encoded by sentence-transformers", merged)
    return 1 if max(results) > LIMIT else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
