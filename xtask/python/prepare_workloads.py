"""Writes models and texts of the peer benchmark: `prepare_workloads.py TOKENIZER RETRIEVAL PAIRS OUTPUT`.

TOKENIZER: a directory with a BERT vocabulary. RETRIEVAL: a folder in BEIR layout whose texts serve as real documents.
PAIRS: the same, for tiny-real. Weights are random, of the architectures' own initialization.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForMaskedLM,
)

XLMR_VOCAB_SIZE = 250_002


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def bert(tokenizer, output, layers, width, heads):
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    torch.manual_seed(0)
    BertForMaskedLM(config).save_pretrained(output)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, output / name)


def xlm_roberta(output):
    config = XLMRobertaConfig(
        vocab_size=XLMR_VOCAB_SIZE,
        num_hidden_layers=4,
        hidden_size=256,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=514,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    XLMRobertaForMaskedLM(config).save_pretrained(output)
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary += [f"w{n}" for n in range(4, XLMR_VOCAB_SIZE - 1)] + ["<mask>"]
    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<s>",
        sep_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        mask_token="<mask>",
        model_max_length=512,
    ).save_pretrained(output)


def pairs_of(folder):
    def text(row):
        return f"{row.get('title') or ''} {row['text']}".strip()

    corpus = {row["_id"]: text(row) for row in read_lines(folder / "corpus.jsonl")}
    queries = {row["_id"]: row["text"] for row in read_lines(folder / "queries.jsonl")}
    rows = (folder / "qrels" / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    ids = [row.split("\t")[:2] for row in rows]
    return [{"query": queries[q], "document": corpus[d]} for q, d in ids], list(corpus.values())


def flat(words, generator, n):
    """Pairs of exactly 16 and 64 tokens, the two special ones included."""

    def sample(length):
        return " ".join(generator.choice(words) for _ in range(length))

    return [{"query": sample(14), "document": sample(62)} for _ in range(n)]


def main():
    tokenizer, retrieval, pairs, output = map(Path, sys.argv[1:])
    generator = random.Random(0)
    for name in ("minilm", "base", "xlmr"):
        (output / name).mkdir(parents=True, exist_ok=True)
    bert(tokenizer, output / "minilm", layers=6, width=384, heads=12)
    bert(tokenizer, output / "base", layers=12, width=768, heads=12)
    xlm_roberta(output / "xlmr")

    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    words = [w for w in vocabulary["model"]["vocab"] if w.isascii() and w.isalpha() and w.islower()]
    write_lines(output / "flat.jsonl", flat(words, generator, 1024))
    ids = [f"w{n}" for n in range(4, XLMR_VOCAB_SIZE - 1)]
    write_lines(output / "flat-xlmr.jsonl", flat(ids, generator, 1024))
    real, documents = pairs_of(retrieval)
    write_lines(output / "real.jsonl", real)
    write_lines(output / "documents.jsonl", [{"text": text} for text in documents[:2000]])
    write_lines(output / "tiny.jsonl", pairs_of(pairs)[0])


if __name__ == "__main__":
    main()
