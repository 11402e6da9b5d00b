"""Writes the order in which sentence-transformers calls its callbacks: tests/golden/callbacks/order.json of sparse-train.

    python xtask/python/record_callbacks.py MODEL_DIRECTORY DATA.jsonl OUTPUT.json
"""

import json
import sys
import tempfile

import sentence_transformers
import transformers
from datasets import load_dataset
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.losses import SparseMultipleNegativesRankingLoss, SpladeLoss
from transformers import TrainerCallback

HOOKS = """on_init_end on_train_begin on_train_end on_epoch_begin on_epoch_end on_step_begin on_pre_optimizer_step
on_optimizer_step on_substep_end on_step_end on_evaluate on_save on_log on_prediction_step""".split()


class Recorder(TrainerCallback):
    """Notes every hook with the step, and stops where it is told to."""

    def __init__(self, stop=None):
        self.events, self.stop = [], stop

    def note(self, hook, state, control):
        self.events.append([hook, state.global_step, state.epoch and round(state.epoch, 6)])
        if self.stop and self.stop["hook"] == hook and self.stop["step"] == state.global_step:
            setattr(control, self.stop["flag"], True)


for hook in HOOKS:
    setattr(Recorder, hook, lambda self, args, state, control, hook=hook, **_: self.note(hook, state, control))

RUNS = {
    "plain": {"rows": 24, "arguments": {"num_train_epochs": 1, "eval_steps": 2, "save_steps": 2}},
    "epoch_stop": {
        "rows": 40,
        "arguments": {"num_train_epochs": 2, "eval_strategy": "no", "save_strategy": "no"},
        "stop": {"hook": "on_step_end", "step": 1, "flag": "should_epoch_stop"},
    },
    "epoch_stop_within_an_update": {
        "rows": 40,
        "arguments": {"num_train_epochs": 2, "eval_strategy": "no", "save_strategy": "no"},
        "stop": {"hook": "on_substep_end", "step": 1, "flag": "should_epoch_stop"},
    },
    "training_stop": {
        "rows": 40,
        "arguments": {"num_train_epochs": 2, "eval_strategy": "epoch", "save_strategy": "no"},
        "stop": {"hook": "on_step_end", "step": 2, "flag": "should_training_stop"},
    },
    "asked_for": {
        "rows": 24,
        "arguments": {"num_train_epochs": 1, "eval_strategy": "no", "save_strategy": "no"},
        "stop": {"hook": "on_step_end", "step": 1, "flag": "should_evaluate"},
    },
}


def record(model, rows, run):
    encoder = SparseEncoder(model, device="cpu")
    recorder = Recorder(run.get("stop"))
    with tempfile.TemporaryDirectory() as folder:
        arguments = {"eval_strategy": "steps", "logging_steps": 1, "gradient_accumulation_steps": 2} | run["arguments"]
        SparseEncoderTrainer(
            model=encoder,
            args=SparseEncoderTrainingArguments(
                output_dir=folder, per_device_train_batch_size=8, use_cpu=True, report_to="none", disable_tqdm=True, **arguments
            ),
            train_dataset=rows.select(range(run["rows"])),
            eval_dataset=rows.select(range(16)),
            loss=SpladeLoss(encoder, SparseMultipleNegativesRankingLoss(encoder), 0.003, 0.005),
            callbacks=[recorder],
        ).train()
    return run | {"events": recorder.events}


def main():
    model, data, output = sys.argv[1:]
    rows = load_dataset("json", data_files=data, split="train")
    runs = {name: record(model, rows, run) for name, run in RUNS.items()}
    versions = {"sentence_transformers": sentence_transformers.__version__, "transformers": transformers.__version__}
    with open(output, "w") as file:
        lines = [f'  "{name}": {json.dumps(run)}' for name, run in runs.items()]
        file.write('{"versions": ' + json.dumps(versions) + ',\n "runs": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
