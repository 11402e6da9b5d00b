"""One measurement of the reference, in a process of its own: `cargo xtask bench peer` starts it.

Takes a job as JSON and prints a measurement as JSON, as benches/src/main.rs does for this workspace.
"""

import json
import resource
import sys
import time

import torch
from datasets import Dataset
from sentence_transformers import (
    SparseEncoder,
    SparseEncoderTrainer,
    SparseEncoderTrainingArguments,
)
from sentence_transformers.sparse_encoder.losses import (
    SparseMultipleNegativesRankingLoss,
    SpladeLoss,
)
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def load(job):
    model = SparseEncoder(job["model"], device="cpu")
    model.max_seq_length = job["max_seq_length"]
    return model


def train(job):
    """Times from the end of one step to the end of the next, in the reference's own trainer."""
    model = load(job)
    rows = lines(job["data"])
    data = Dataset.from_dict({name: [row[name] for row in rows] for name in rows[0]})
    loss = SpladeLoss(
        model,
        SparseMultipleNegativesRankingLoss(model),
        document_regularizer_weight=3e-5,
        query_regularizer_weight=5e-5,
    )
    ends, losses = [], []

    class Clock(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            ends.append(time.perf_counter())

        def on_log(self, args, state, control, logs=None, **kwargs):
            if "loss" in (logs or {}):
                losses.append(logs["loss"])

    arguments = SparseEncoderTrainingArguments(
        output_dir=job["output"],
        max_steps=job["warm_up"] + job["steps"],
        per_device_train_batch_size=job["batch_size"],
        learning_rate=2e-5,
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=10**6,
        logging_first_step=True,
        report_to="none",
        use_cpu=True,
        bf16=job.get("bf16", False),
        disable_tqdm=True,
    )
    trainer = SparseEncoderTrainer(
        model=model, args=arguments, train_dataset=data, loss=loss, callbacks=[Clock()]
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.train()
    times = [later - earlier for earlier, later in zip(ends, ends[1:])]
    return times[max(job["warm_up"] - 1, 0) :], losses[0]


def encode(job):
    model = load(job)
    texts = [row["text"] for row in lines(job["data"])][: job["documents"]]
    times, active = [], 0.0
    for _ in range(job["repeat"]):
        start = time.perf_counter()
        vectors = model.encode_document(texts, batch_size=job["batch_size"])
        times.append(time.perf_counter() - start)
        active = vectors.coalesce().values().count_nonzero().item() / len(texts)
    return times, active


def main():
    kind, job = next(iter(json.loads(sys.argv[1]).items()))
    seconds, check = {"train": train, "encode": encode}[kind](job)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak_bytes": peak, "check": check}))


if __name__ == "__main__":
    main()
