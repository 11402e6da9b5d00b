"""Losses of the reference in f32 and in bf16, for the run of `precision::half_precision_follows_single_precision`.

    pip install "sentence-transformers[train]==6.2.0"
    python golden_bf16.py crates/sparse-model/tests/golden/encoders/splade-max \\
        crates/sparse-train/tests/golden/training/a_splade_mnrl/data.jsonl
"""

import json
import sys
import tempfile

from datasets import Dataset
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss


def losses(directory, rows, bf16):
    model = SparseEncoder(directory, device="cpu")
    loss = SpladeLoss(
        model,
        SparseMultipleNegativesRankingLoss(model),
        document_regularizer_weight=0.003,
        query_regularizer_weight=0.005,
    )
    with tempfile.TemporaryDirectory() as output:
        arguments = SparseEncoderTrainingArguments(
            output_dir=output,
            max_steps=25,
            per_device_train_batch_size=8,
            learning_rate=5e-4,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            bf16=bf16,
        )
        data = Dataset.from_dict({name: [row[name] for row in rows] for name in rows[0]})
        trainer = SparseEncoderTrainer(model=model, args=arguments, train_dataset=data, loss=loss)
        trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for bf16 in (False, True):
        print("bf16" if bf16 else "f32", [round(loss, 5) for loss in losses(sys.argv[1], rows, bf16)])


if __name__ == "__main__":
    main()
