"""Figures of a TREC run file by trec_eval itself, to compare with ours.

    pip install pytrec-eval-terrier    # pytrec_eval with ready-made wheels
    python trec_eval.py QRELS.tsv RUN.trec

QRELS.tsv holds query-id, corpus-id and score, separated by tabs, with or without a header. Prints the means over the
judged queries: nDCG@10, MAP@100, recall@100 and MRR@10. (trec_eval's reciprocal rank has no cut-off, so the run is cut
at rank 10 for it.)
"""

import sys

import pytrec_eval


def read_qrels(path):
    qrels = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            query, document, score = line.rstrip("\n").split("\t")
            if number == 0 and not score.lstrip("-").isdigit():
                continue
            qrels.setdefault(query, {})[document] = int(score)
    return {query: judged for query, judged in qrels.items() if any(score > 0 for score in judged.values())}


def read_run(path):
    run = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            query, _, document, _, score, _ = line.split()
            run.setdefault(query, {})[document] = float(score)
    return run


def mean(qrels, run, measure, name):
    results = pytrec_eval.RelevanceEvaluator(qrels, {measure}).evaluate(run)
    return sum(results.get(query, {}).get(name, 0.0) for query in qrels) / len(qrels)


def main():
    qrels, run = read_qrels(sys.argv[1]), read_run(sys.argv[2])
    top = {q: dict(sorted(hits.items(), key=lambda hit: -hit[1])[:10]) for q, hits in run.items()}
    print(f"ndcg@10    {mean(qrels, run, 'ndcg_cut.10', 'ndcg_cut_10'):.6f}")
    print(f"map@100    {mean(qrels, run, 'map_cut.100', 'map_cut_100'):.6f}")
    print(f"recall@100 {mean(qrels, run, 'recall.100', 'recall_100'):.6f}")
    print(f"mrr@10     {mean(qrels, top, 'recip_rank', 'recip_rank'):.6f}")


if __name__ == "__main__":
    main()
