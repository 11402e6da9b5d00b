"""Losses of the reference in f32, bf16 and fp16, for the run of `precision::half_precision_follows_single_precision`.

    pip install "sentence-transformers[train]==6.2.0"
    python golden_bf16.py crates/sparse-model/tests/golden/encoders/splade-max \\
        crates/sparse-train/tests/golden/training/a_splade_mnrl/data.jsonl
"""

import json
import sys
import tempfile

import torch
from datasets import Dataset
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss


SCALE = 128.0


class HalfTrainer(SparseEncoderTrainer):
    """fp16 on a CPU, which the trainer itself refuses: autocast, and a scale of the loss with which no gradient overflows."""

    def compute_loss(self, *arguments, **options):
        with torch.autocast("cpu", torch.float16):
            return super().compute_loss(*arguments, **options)

    def training_step(self, model, inputs, num_items_in_batch=None):
        model.train()
        loss = self.compute_loss(model, self._prepare_inputs(inputs))
        (loss * SCALE).backward()
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter.grad /= SCALE
        return loss.detach()


def losses(directory, rows, bf16, trainer_class=SparseEncoderTrainer):
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
        trainer = trainer_class(model=model, args=arguments, train_dataset=data, loss=loss)
        trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def main():
    with open(sys.argv[2], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    for name, options in [("f32", (False,)), ("bf16", (True,)), ("fp16", (False, HalfTrainer))]:
        print(name, [round(loss, 5) for loss in losses(sys.argv[1], rows, *options)])


if __name__ == "__main__":
    main()
