"""Reads the event files of a folder with the tensorboard package and prints every scalar and text as JSON lines.

    pip install tensorboard
    python xtask/python/read_events.py runs/first/runs/NAME
"""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def main():
    (folder,) = sys.argv[1:]
    # 0 keeps every value instead of a sample.
    events = EventAccumulator(folder, size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for tag in tags["scalars"]:
        for scalar in events.Scalars(tag):
            print(json.dumps({"tag": tag, "step": scalar.step, "value": scalar.value}))
    for tag in tags["tensors"]:
        for event in events.Tensors(tag):
            texts = [text.decode() for text in event.tensor_proto.string_val]
            print(json.dumps({"tag": tag, "step": event.step, "text": texts}))
    if not tags["scalars"]:
        sys.exit(f"no scalars in {folder}")


if __name__ == "__main__":
    main()
