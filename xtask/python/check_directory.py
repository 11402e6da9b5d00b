"""Converts model directories with our binary and checks the copies in Python.

    python3 -m venv venv && venv/bin/pip install sentence-transformers==6.2.0
    cargo build -p sparse-cli
    venv/bin/python xtask/python/check_directory.py target/debug/sparse-encoder crates/sparse-model/tests/golden/{models,encoders}/*

For each directory, sentence-transformers loads the original and our copy, and both our binary and sentence-transformers encode
with the copy. A warning about the copy fails it, as does an embedding that differs by more than 1e-4 of the row's largest
weight; for every directory the largest differences are printed. What has no weights (an autoencoder that the reference makes
anew each time) is not in the comparison with the original. Exits with 1 if one failed.
"""

import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"

TEXTS = [
    "a cat sat on the mat",
    "The weather is lovely today.",
    "how to train a sparse retrieval model",
    "déjà vu: naïve Straße, Ωmega, 東京 and an emoji 🙂",
    "one",
    "long " * 300,
    "repeated words repeat the repeated words",
]
LIMIT = 1e-4


class Recorder(logging.Handler):
    """Remembers every warning that a library logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def load(directory, recorder):
    """The model, and the warnings on the way."""
    from sentence_transformers import SparseEncoder

    recorder.messages.clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = SparseEncoder(directory, device="cpu")
    return model, [str(warning.message) for warning in caught] + recorder.messages


def theirs(model, task):
    encode = model.encode_query if task == "query" else model.encode_document
    return encode(TEXTS, convert_to_sparse_tensor=False).numpy()


def ours(binary, directory, task, width):
    import numpy

    with tempfile.TemporaryDirectory() as folder:
        texts = os.path.join(folder, "texts.jsonl")
        with open(texts, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in TEXTS)
        command = [binary, "encode", "--model", directory, "--input", texts, "--task", task, "--quiet"]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows = numpy.zeros((len(TEXTS), width), dtype="float32")
    for row, line in zip(rows, output.splitlines(), strict=True):
        vector = json.loads(line)
        row[vector["indices"]] = vector["values"]
    return rows


def difference(left, right):
    """The largest difference, relative to the largest weight of its row."""
    scale = abs(right).max(axis=1, keepdims=True).clip(1e-6)
    return float((abs(left - right) / scale).max())


def check(binary, directory, recorder):
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "copy")
        command = [binary, "convert", "--model", directory, "--output", copy, "--quiet"]
        subprocess.run(command, check=True, capture_output=True, text=True)
        original, _ = load(directory, recorder)
        model, messages = load(copy, recorder)
        made_anew = not os.path.exists(os.path.join(directory, "modules.json")) and any(
            type(module).__name__ == "SparseAutoEncoder" for module in original
        )
        copies, originals = 0.0, 0.0
        for task in ("query", "document"):
            reference = theirs(model, task)
            copies = max(copies, difference(ours(binary, copy, task, reference.shape[1]), reference))
            if not made_anew:
                originals = max(originals, difference(theirs(original, task), reference))
    failed = bool(messages) or copies > LIMIT or originals > LIMIT
    print(
        f"{'FAILED' if failed else 'ok':<7}{directory}: we and Python on our copy {copies:.1e}, "
        f"Python on the original and on our copy {originals:.1e}, {len(messages)} warnings",
        flush=True,
    )
    for message in messages:
        print("    warning:", message)
    return failed


def main(binary, directories):
    recorder = Recorder()
    import sentence_transformers  # noqa: F401  (its own start may warn)

    for name in ("", "sentence_transformers", "transformers"):
        logging.getLogger(name).addHandler(recorder)
    failures = [check(binary, directory, recorder) for directory in directories]
    print(f"{len(failures) - sum(failures)} of {len(failures)} directories are equal and load without a warning")
    return 1 if any(failures) else 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
