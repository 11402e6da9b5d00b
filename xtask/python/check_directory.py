"""Loads a model directory in Python and compares its embeddings with ours.

    python3 -m venv venv && venv/bin/pip install sentence-transformers==6.2.0
    sparse-encoder encode --model DIR --input texts.txt --output vectors.jsonl
    venv/bin/python xtask/python/check_directory.py DIR texts.txt vectors.jsonl

Every warning is an error. Exits with 1 if an embedding differs by more than 1e-4, relative.
"""

import json
import logging
import os
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"


class Recorder(logging.Handler):
    """Remembers every warning that a library logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def main(directory, texts_file, vectors_file):
    recorder = Recorder()
    for name in ("", "sentence_transformers", "transformers"):
        logging.getLogger(name).addHandler(recorder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from sentence_transformers import SparseEncoder

        caught.clear()
        model = SparseEncoder(directory, device="cpu")
        messages = [str(warning.message) for warning in caught] + recorder.messages
    for message in messages:
        print("warning:", message)

    texts = open(texts_file, encoding="utf-8").read().splitlines()
    reference = model.encode_document(texts, convert_to_sparse_tensor=False).numpy()
    largest = 0.0
    with open(vectors_file, encoding="utf-8") as lines:
        ours = [json.loads(line) for line in lines]
    assert len(ours) == len(texts), f"{len(ours)} vectors for {len(texts)} texts"
    for row, vector in zip(reference, ours):
        dense = row * 0
        dense[vector["indices"]] = vector["values"]
        scale = max(abs(row).max(), 1e-6)
        largest = max(largest, float(abs(dense - row).max() / scale))
    print(f"{len(texts)} texts, largest relative difference {largest:.2e}, {len(messages)} warnings")
    return 1 if messages or largest > 1e-4 else 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
