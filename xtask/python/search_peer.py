"""Exact search against the reference's evaluation scoring, and against Seismic's approximate search, on the same vectors.

    pip install sentence-transformers==6.2.0 pyarrow pyseismic-lsr    # the last is optional
    python search_peer.py sparse-encoder WORK_FOLDER [--retrieval DIR --model DIR] [--documents 100000]

The first argument is our program. The reference's side is what SparseInformationRetrievalEvaluator does once texts are encoded:
similarity of torch's sparse tensors, topk and merging, in chunks of 50,000 documents; the vectors are given to it, and the
figures it would compute afterwards are left out. Ours is `index` (reading and writing files included) and `search`, whose own
time is what it prints. All keep 100 documents per query; all run in turn on the same machine and threads.
"""

import argparse
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMS = 30_522
TOP_K = 100
THREADS = 2


def synthetic(n_rows, active, seed):
    """Rows of distinct dimensions drawn by a power law: a few are in most rows, as words are."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(n_rows):
        indices = np.unique((random.random(2 * active) ** 2 * DIMS).astype(np.uint32))
        indices = np.sort(random.choice(indices, active, replace=False))
        rows.append((indices, (0.1 + random.random(active)).astype(np.float32)))
    return rows


def write(path, rows):
    table = pa.table(
        {
            "id": [str(number) for number in range(len(rows))],
            "indices": pa.array([row[0] for row in rows], pa.list_(pa.uint32())),
            "values": pa.array([row[1] for row in rows], pa.list_(pa.float32())),
        }
    )
    pq.write_table(table, path)


def read(path):
    table = pq.read_table(path)
    indices, values = table["indices"].combine_chunks(), table["values"].combine_chunks()
    offsets = indices.offsets.to_numpy()
    return table["id"].to_pylist(), offsets, indices.values.to_numpy(), values.values.to_numpy()


def run(*arguments):
    done = subprocess.run([str(word) for word in arguments], capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def ours(program, documents, queries, folder):
    index = folder / "corpus.index"
    start = time.perf_counter()
    run(program, "index", "--vectors", documents, "--dimensions", DIMS, "--output", index)
    built = time.perf_counter() - start
    trec = folder / "ours.trec"
    _, said = run(program, "search", "--index", index, "--vectors", queries, "--top-k", TOP_K, "--output", trec)
    searched = float(re.search(r"in ([\d.]+) ms", said).group(1)) / 1e3
    best = {}
    for line in trec.read_text().splitlines():
        query, _, document, _, score, _ = line.split()
        best.setdefault(query, []).append((document, float(score)))
    return built, searched, best


def reference(documents, queries):
    import torch
    from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
    from sentence_transformers.util import dot_score

    torch.set_num_threads(THREADS)

    def tensor(path):
        ids, offsets, indices, values = read(path)
        rows = np.repeat(np.arange(len(ids)), np.diff(offsets))
        places = torch.from_numpy(np.stack([rows, indices.astype(np.int64)]))
        return ids, torch.sparse_coo_tensor(places, torch.from_numpy(values.copy()), (len(ids), DIMS)).coalesce()

    (document_ids, corpus), (query_ids, asked) = tensor(documents), tensor(queries)
    kept = {}

    class Scoring(SparseInformationRetrievalEvaluator):
        def embed_inputs(self, *_, **__):
            return asked

        def _record_sparsity_stats(self, *_, **__):
            pass

        def compute_metrics(self, results):
            kept["results"] = results
            return {}

        def output_scores(self, *_):
            pass

    evaluator = Scoring(
        queries=dict.fromkeys(query_ids, "query"),
        corpus=dict.fromkeys(document_ids, "document"),
        relevant_docs={query: {document_ids[0]} for query in query_ids},
        score_functions={"dot": dot_score},
        map_at_k=[TOP_K],
    )
    start = time.perf_counter()
    evaluator.compute_all_metrics(None, corpus_embeddings=corpus)
    seconds = time.perf_counter() - start
    best = {
        query: [(hit["corpus_id"], hit["score"]) for hit in hits] for query, hits in zip(query_ids, kept["results"])
    }
    return seconds, best


def seismic(documents, queries):
    try:
        from seismic import SeismicDataset, SeismicIndex, get_seismic_string
    except ImportError:
        return None
    word = get_seismic_string()
    dataset = SeismicDataset()
    ids, offsets, indices, values = read(documents)
    for number, name in enumerate(ids):
        row = slice(offsets[number], offsets[number + 1])
        dataset.add_document(name, indices[row].astype(str).astype(word), values[row])
    start = time.perf_counter()
    index = SeismicIndex.build_from_dataset(dataset, num_threads=THREADS)
    built = time.perf_counter() - start
    ids, offsets, indices, values = read(queries)
    rows = [slice(offsets[number], offsets[number + 1]) for number in range(len(ids))]
    start = time.perf_counter()
    found = index.batch_search(
        queries_ids=np.array(ids, dtype=word),
        query_components=[indices[row].astype(str).astype(word) for row in rows],
        query_values=[values[row] for row in rows],
        k=TOP_K,
        query_cut=10,
        heap_factor=0.7,
        num_threads=THREADS,
    )
    searched = time.perf_counter() - start
    return built, searched, {hits[0][0]: [(hit[2], hit[1]) for hit in hits] for hits in found if hits}


def overlap(best, other):
    """Share of the exact ten best that the other side has among its ten best; scores decide, so that ties count."""
    shares = []
    for query, hits in best.items():
        top = [document for document, _ in hits[:10]]
        floor = hits[min(len(hits), 10) - 1][1]
        have = sum(score >= floor * (1 - 1e-5) for _, score in other.get(query, [])[:10])
        shares.append(have / len(top))
    return sum(shares) / len(shares)


def compare(name, program, documents, queries, folder, rounds):
    n_queries = len(read(queries)[0])
    times = {"reference": [], "index": [], "search": []}
    for _ in range(rounds):
        built, searched, best = ours(program, documents, queries, folder)
        seconds, expected = reference(documents, queries)
        times["index"].append(built)
        times["search"].append(searched)
        times["reference"].append(seconds)
    same = overlap(expected, best)
    assert same > 0.9999, f"the ten best differ: {same}"
    median = {side: sorted(values)[len(values) // 2] for side, values in times.items()}
    per_query = {side: seconds / n_queries * 1e6 for side, seconds in median.items()}
    print(
        f"| {name} | {per_query['reference']:.0f} | {per_query['search']:.0f} "
        f"| {median['reference'] / median['search']:.1f} | {median['index']:.2f} "
        f"| {median['reference'] / (median['search'] + median['index']):.1f} ",
        end="",
    )
    approximate = seismic(documents, queries)
    if approximate:
        built, searched, found = approximate
        print(f"| {searched / n_queries * 1e6:.0f} | {built:.1f} | {overlap(best, found):.4f} |")
    else:
        print("| | | |")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--retrieval", type=Path, help="folder in BEIR layout to encode with --model")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(
        "| vectors | reference, µs/query | here, µs/query | ratio | index, s | ratio with indexing "
        "| Seismic, µs/query | its index, s | its recall of the ten best |"
    )
    print("| --- | --: | --: | --: | --: | --: | --: | --: | --: |")
    if options.retrieval and options.model:
        paths = [options.folder / f"{options.retrieval.name}-{side}.parquet" for side in ("corpus", "queries")]
        for path, side, task in zip(paths, ("corpus", "queries"), ("document", "query")):
            texts = options.retrieval / f"{side}.jsonl"
            if not path.exists():
                run(options.program, "encode", "--model", options.model, "--input", texts, "--task", task, "--output", path)
        compare(options.retrieval.name, options.program, *paths, options.folder, options.rounds)
    if options.documents:
        paths = [options.folder / "synthetic-corpus.parquet", options.folder / "synthetic-queries.parquet"]
        if not all(path.exists() for path in paths):
            write(paths[0], synthetic(options.documents, 200, 1))
            write(paths[1], synthetic(300, 30, 2))
        name = f"{options.documents:,} of 200 active, queries of 30"
        compare(name, options.program, *paths, options.folder, options.rounds)


if __name__ == "__main__":
    main()
