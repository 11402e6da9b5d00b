//! The files of every engine, and what each refuses.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fs;
use std::path::Path;

use sparse_export::{
    Engine, Error, Exporter, Impacts, Options, Side, Summary, Vocabulary, Weights,
};
use sparse_index::SparseMatrix;

/// Six dimensions, of which one has a token with a dot.
fn options(engine: Engine) -> Options {
    let tokens = ["[PAD]", "cat", "3.5", "mat", "ĉ\"", "##s"];
    let options =
        Options::new(6).with_vocabulary(Vocabulary::new(tokens.map(str::to_owned).to_vec()));
    match engine.profile().weights {
        Weights::Impacts { max } => options.with_impacts(Impacts::new(100.0, max).unwrap()),
        _ => options,
    }
}

fn vectors(rows: &[[f32; 6]]) -> SparseMatrix {
    SparseMatrix::from_dense(&rows.concat(), rows.len(), 6).unwrap()
}

fn export(
    directory: &Path,
    engine: Engine,
    side: Side,
    rows: &[(&str, [f32; 6])],
) -> Result<Summary, Error> {
    let ids: Vec<String> = rows.iter().map(|(id, _)| (*id).to_owned()).collect();
    let values: Vec<[f32; 6]> = rows.iter().map(|(_, values)| *values).collect();
    let mut exporter = Exporter::create(directory, engine, side, options(engine))?;
    exporter.push(&ids, &vectors(&values))?;
    exporter.finish()
}

const DOCUMENTS: &[(&str, [f32; 6])] = &[
    ("a", [0.0, 1.5, 0.25, 0.0, 0.0, 0.0]),
    ("b", [0.0, 0.0, 0.0, 2.0, 0.5, 1.0]),
];

fn read(directory: &Path, file: &str) -> String {
    fs::read_to_string(directory.join(file)).unwrap()
}

#[test]
fn documents_and_queries_of_every_engine() {
    #[rustfmt::skip]
    let expected: &[(Engine, &str, &str, &str, &str)] = &[
        (Engine::Qdrant,
         "points.jsonl", r#"{"id":"a3d6e2f0","vector":{"vector":{"indices":[1,2],"values":[1.5,0.25]}},"payload":{"_id":"a"}}"#,
         "queries.jsonl", r#"{"id":"a","request":{"query":{"indices":[1,2],"values":[1.5,0.25]},"using":"vector","limit":10,"with_payload":true}}"#),
        (Engine::Elasticsearch,
         "bulk.ndjson", "{\"index\":{\"_index\":\"documents\",\"_id\":\"a\"}}\n{\"vector\":{\"cat\":1.5,\"3.5\":0.25}}",
         "queries.jsonl", r#"{"id":"a","request":{"query":{"sparse_vector":{"field":"vector","query_vector":{"cat":1.5,"3.5":0.25},"prune":false}},"size":10,"_source":false}}"#),
        (Engine::ElasticsearchRankFeatures,
         "bulk.ndjson", "{\"index\":{\"_index\":\"documents\",\"_id\":\"a\"}}\n{\"vector\":{\"cat\":1.5,\"#2\":0.25}}",
         "queries.jsonl", r##"{"id":"a","request":{"query":{"bool":{"should":[{"rank_feature":{"field":"vector.cat","linear":{},"boost":1.5}},{"rank_feature":{"field":"vector.#2","linear":{},"boost":0.25}}]}},"size":10,"_source":false}}"##),
        (Engine::OpensearchSparseVector,
         "bulk.ndjson", "{\"index\":{\"_index\":\"documents\",\"_id\":\"a\"}}\n{\"vector\":{\"1\":1.5,\"2\":0.25}}",
         "queries.jsonl", r#"{"id":"a","request":{"query":{"neural_sparse":{"vector":{"query_tokens":{"1":1.5,"2":0.25},"method_parameters":{"k":10}}}},"size":10,"_source":false}}"#),
        (Engine::Milvus,
         "rows.json", "[\n{\"id\":\"a\",\"vector\":{\"1\":1.5,\"2\":0.25}}",
         "queries.jsonl", r#"{"id":"a","data":{"1":1.5,"2":0.25}}"#),
        (Engine::Pgvector, "documents.tsv", "a\t{2:1.5,3:0.25}/6", "queries.tsv", "a\t{2:1.5,3:0.25}/6"),
        (Engine::Vespa,
         "feed.jsonl", r#"{"put":"id:documents:documents::a","fields":{"id":"a","vector":{"cat":1.5,"3.5":0.25}}}"#,
         "queries.jsonl", r#"{"id":"a","request":{"yql":"select * from documents where true","hits":10,"ranking":"sparse","input.query(q)":{"cat":1.5,"3.5":0.25}}}"#),
        (Engine::Seismic,
         "documents.jsonl", r#"{"id":"a","vector":{"cat":1.5,"3.5":0.25}}"#,
         "queries.jsonl", r#"{"id":"a","vector":{"cat":1.5,"3.5":0.25}}"#),
        (Engine::Anserini,
         "corpus/documents.jsonl", r#"{"id":"a","contents":"","vector":{"cat":150,"3.5":25}}"#,
         "topics.tsv", "a\tcat cat cat"),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (engine, documents, document, queries, query) in expected {
        let directory = folder.path().join(engine.name());
        let summary = export(&directory, *engine, Side::Document, DOCUMENTS).unwrap();
        assert_eq!((summary.n_written, summary.most_active), (2, 3), "{engine}");
        export(&directory, *engine, Side::Query, DOCUMENTS).unwrap();
        let mut text = read(&directory, documents);
        if *engine == Engine::Qdrant {
            // The UUID of an id has a test of its own.
            text.replace_range(8..43, "3d6e2f0");
            text.replace_range(7..8, "a");
        }
        assert!(text.starts_with(document), "{engine}: {text}");
        assert!(
            read(&directory, queries).starts_with(query),
            "{engine}: {}",
            read(&directory, queries)
        );
        // Every line and every file of JSON can be read.
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let Some(ending) = path.extension().and_then(|ending| ending.to_str()) else {
                continue;
            };
            let text = fs::read_to_string(&path).unwrap();
            match ending {
                "json" => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                "jsonl" | "ndjson" => {
                    assert!(text.ends_with('\n'));
                    for line in text.lines() {
                        serde_json::from_str::<serde_json::Value>(line).unwrap();
                    }
                }
                _ => {}
            }
        }
    }
}

#[test]
fn engines_refuse_by_name_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("export");
    let refuse = |engine, side, rows: &[(&str, [f32; 6])], message: &str| {
        let error = export(&directory, engine, side, rows).unwrap_err();
        assert_eq!(error.to_string(), message);
        assert!(error.is_user_error());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{engine}");
    };
    let one = |value| [0.0, value, 0.0, 0.0, 0.0, 0.0];
    refuse(
        Engine::Milvus,
        Side::Document,
        &[("a", one(1.0)), ("b", one(-1.0))],
        "vector `b`, dimension 1: milvus takes weights above 0, got -1",
    );
    refuse(
        Engine::Elasticsearch,
        Side::Query,
        &[("a", one(65.0))],
        "vector `a`, dimension 1: elasticsearch takes weights above 0 and up to 64, got 65",
    );
    refuse(
        Engine::Bmp,
        Side::Document,
        &[("a", one(4.0))],
        "vector `a`, dimension 1: the weight 4 times 100 is above 255, the largest impact: the largest scale for it is 63.75",
    );
    refuse(
        Engine::Anserini,
        Side::Document,
        &[("a b", one(1.0))],
        "id `a b`: anserini takes ids without blanks",
    );
    refuse(
        Engine::Qdrant,
        Side::Document,
        &[("a", one(1.0)), ("b", one(1.0)), ("a", one(2.0))],
        "id `a` occurs twice",
    );
    refuse(
        Engine::Milvus,
        Side::Document,
        &[("a", one(0.0))],
        "no vector to export",
    );
    let long = "x".repeat(513);
    refuse(
        Engine::Opensearch,
        Side::Document,
        &[(long.as_str(), one(1.0))],
        &format!("id `{long}`: opensearch takes ids of at most 512 bytes"),
    );
    export(
        &directory,
        Engine::Pgvector,
        Side::Document,
        &[("a", one(-1.0))],
    )
    .unwrap();
}

#[test]
fn a_vector_that_pgvector_cannot_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("export");
    let export = |n_active: usize| {
        let mut exporter = Exporter::create(
            &directory,
            Engine::Pgvector,
            Side::Document,
            Options::new(20_000),
        )
        .unwrap();
        let mut values = vec![1.0; n_active];
        values.resize(20_000, 0.0);
        let vectors = SparseMatrix::from_dense(&values, 1, 20_000).unwrap();
        exporter.push(&["a".to_owned()], &vectors)?;
        exporter.finish()
    };
    assert_eq!(
        export(16_001).unwrap_err().to_string(),
        "vector `a` has 16001 active dimensions, pgvector takes at most 16000: set a maximum of active dimensions"
    );
    export(16_000).unwrap();
    assert!(
        read(&directory, "load.sql")
            .contains("-- No HNSW index: a vector has 16000 active dimensions")
    );
    export(1000).unwrap();
    assert!(read(&directory, "load.sql").contains("USING hnsw"));
}

#[test]
fn settings_must_fit_the_engine() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |engine, options: Options, message: &str| {
        let error = Exporter::create(
            folder.path().join("export"),
            engine,
            Side::Document,
            options,
        )
        .unwrap_err();
        assert_eq!(error.to_string(), message);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    };
    refuse(
        Engine::Vespa,
        Options::new(6),
        "vespa stores tokens, and the dimensions of these vectors have no names: a vocabulary is needed",
    );
    refuse(
        Engine::Vespa,
        Options::new(2).with_vocabulary(Vocabulary::new(vec!["a".to_owned()])),
        "the vocabulary has 1 tokens, the vectors have 2 dimensions",
    );
    refuse(
        Engine::Ciff,
        Options::new(6),
        "ciff stores integer impacts: a scale is needed",
    );
    refuse(
        Engine::Qdrant,
        Options::new(6).with_impacts(Impacts::new(1.0, 255).unwrap()),
        "qdrant stores floating-point weights, and takes no scale of impacts",
    );
    refuse(
        Engine::Qdrant,
        Options::new(6).with_collection("My docs"),
        "collection `My docs`: expected lower-case letters, digits and `_`, beginning with a letter",
    );
}

#[test]
fn files_of_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("export");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("notes.txt"), "mine").unwrap();
    export(&directory, Engine::Seismic, Side::Document, DOCUMENTS).unwrap();
    export(&directory, Engine::Seismic, Side::Query, &DOCUMENTS[..1]).unwrap();
    export(&directory, Engine::Seismic, Side::Document, &DOCUMENTS[1..]).unwrap();
    assert_eq!(read(&directory, "notes.txt"), "mine");
    assert_eq!(read(&directory, "queries.jsonl").lines().count(), 1);
    assert_eq!(
        read(&directory, "documents.jsonl"),
        "{\"id\":\"b\",\"vector\":{\"mat\":2,\"ĉ\\\"\":0.5,\"##s\":1}}\n"
    );
}
