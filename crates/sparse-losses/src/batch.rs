//! What a loss sees of a batch.

use burn::tensor::{Device, Tensor};

use crate::Similarity;

/// The embeddings of one batch, column by column, and everything else a loss may read.
///
/// Built with [`new`](Self::new) and the `with_` methods, so that a field added later breaks nobody.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EmbeddedBatch {
    /// One `[batch_size, vocab_size]` matrix per input column, in the data's order: the query (or anchor), the
    /// positive, then the negatives. Dense, with gradients.
    pub columns: Vec<Tensor<2>>,
    /// Labels of the batch's rows, if the data has any. Losses detach them.
    pub labels: Option<Labels>,
    /// What the sparse autoencoder left behind, one entry per column; empty for models without one.
    pub autoencoder: Vec<AutoencoderFeatures>,
    /// Regularizer weights in force at this step; `None` means those of the loss's configuration.
    pub regularizer_weights: Option<RegularizerWeights>,
    /// `[vocab_size]` share of the documents in which each dimension is active, between 0 and 1, as estimated so
    /// far; `None` lets a regularizer that needs it count in the batch at hand.
    pub document_frequencies: Option<Tensor<1>>,
}

impl EmbeddedBatch {
    /// A batch of embeddings without labels.
    pub fn new(columns: Vec<Tensor<2>>) -> Self {
        Self {
            columns,
            labels: None,
            autoencoder: Vec::new(),
            regularizer_weights: None,
            document_frequencies: None,
        }
    }

    /// Adds labels.
    pub fn with_labels(mut self, labels: impl Into<Labels>) -> Self {
        self.labels = Some(labels.into());
        self
    }

    /// Adds the autoencoder's features, one entry per column.
    pub fn with_autoencoder(mut self, features: Vec<AutoencoderFeatures>) -> Self {
        self.autoencoder = features;
        self
    }

    /// Sets the regularizer weights in force.
    pub fn with_regularizer_weights(mut self, weights: RegularizerWeights) -> Self {
        self.regularizer_weights = Some(weights);
        self
    }

    /// Sets the document frequencies estimated so far.
    pub fn with_document_frequencies(mut self, frequencies: Tensor<1>) -> Self {
        self.document_frequencies = Some(frequencies);
        self
    }

    /// Number of rows.
    ///
    /// # Panics
    ///
    /// If the batch has no column.
    pub fn batch_size(&self) -> usize {
        self.query().dims()[0]
    }

    /// The first column.
    ///
    /// # Panics
    ///
    /// If the batch has no column.
    pub fn query(&self) -> &Tensor<2> {
        self.columns
            .first()
            .expect("a batch has at least one column")
    }

    /// Every column but the first.
    pub fn documents(&self) -> &[Tensor<2>] {
        self.columns.get(1..).unwrap_or_default()
    }

    /// Where the embeddings live.
    pub(crate) fn device(&self) -> Device {
        self.query().device()
    }

    /// Scores of each query with its own documents, positive first: `[batch_size, n_documents]`.
    pub(crate) fn candidate_scores(&self, loss: &str, similarity: Similarity) -> Tensor<2> {
        assert!(
            self.columns.len() >= 3,
            "`{loss}` needs a query, a positive and a negative column"
        );
        let scores = self
            .documents()
            .iter()
            .map(|document| similarity.pairwise(self.query().clone(), document.clone()));
        Tensor::cat(scores.collect(), 1)
    }

    /// The first two columns, for losses on pairs.
    pub(crate) fn pair(&self, loss: &str) -> (Tensor<2>, Tensor<2>) {
        assert!(
            self.columns.len() >= 2,
            "`{loss}` needs two columns, got {}",
            self.columns.len()
        );
        (self.columns[0].clone(), self.columns[1].clone())
    }

    /// One label per row, detached.
    pub(crate) fn scalar_labels(&self, loss: &str) -> Tensor<1> {
        let labels = match self.labels.clone() {
            Some(Labels::Scalars(labels)) => labels.detach(),
            Some(Labels::Lists(labels)) if labels.dims()[1] == 1 => labels.detach().squeeze_dim(1),
            other => panic!(
                "`{loss}` needs one label per row, got {}",
                describe(other.as_ref())
            ),
        };
        assert_eq!(
            labels.dims()[0],
            self.batch_size(),
            "`{loss}` needs one label per row"
        );
        labels
    }
}

/// The labels of a batch, by the shape of one row's label.
#[derive(Debug, Clone)]
pub enum Labels {
    /// One number per row: `[batch_size]`.
    Scalars(Tensor<1>),
    /// One list per row: `[batch_size, length]`; teacher scores, or one teacher embedding.
    Lists(Tensor<2>),
    /// One list per row and column: `[batch_size, n_columns, width]`; teacher embeddings.
    Matrices(Tensor<3>),
}

impl From<Tensor<1>> for Labels {
    fn from(labels: Tensor<1>) -> Self {
        Self::Scalars(labels)
    }
}

impl From<Tensor<2>> for Labels {
    fn from(labels: Tensor<2>) -> Self {
        Self::Lists(labels)
    }
}

impl From<Tensor<3>> for Labels {
    fn from(labels: Tensor<3>) -> Self {
        Self::Matrices(labels)
    }
}

/// Labels for a panic message.
pub(crate) fn describe(labels: Option<&Labels>) -> String {
    match labels {
        None => "no labels".to_owned(),
        Some(Labels::Scalars(labels)) => format!("labels of shape {:?}", labels.dims()),
        Some(Labels::Lists(labels)) => format!("labels of shape {:?}", labels.dims()),
        Some(Labels::Matrices(labels)) => format!("labels of shape {:?}", labels.dims()),
    }
}

/// Weights of the two regularizers, as they are in force at one step or as their maxima.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegularizerWeights {
    /// Factor on the document regularizer (dimensionless).
    pub document: f64,
    /// Factor on the query regularizer; `None` means that there is no query term.
    pub query: Option<f64>,
}

impl RegularizerWeights {
    /// Both weights multiplied by `factor`, as a schedule does.
    pub fn scaled(self, factor: f64) -> Self {
        Self {
            document: self.document * factor,
            query: self.query.map(|weight| weight * factor),
        }
    }
}

/// Numbers of active dimensions to aim at, instead of fixed weights of the regularizers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TargetActiveDims {
    /// Mean over the documents; `None`: the document weight follows its schedule.
    pub document: Option<usize>,
    /// Mean over the queries; `None`: the query weight follows its schedule.
    pub query: Option<usize>,
}

/// How a batch is cut into mini-batches when its gradient is cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MiniBatches {
    /// At most so many texts each.
    Rows(usize),
    /// As many texts as fit into so many tokens; a longer text makes a mini-batch of its own.
    Tokens(usize),
}

/// What a sparse autoencoder's training pass leaves behind for one column.
#[derive(Debug, Clone)]
pub struct AutoencoderFeatures {
    /// `[batch_size, d]` input of the autoencoder, the target of its reconstructions.
    pub sentence_embedding_backbone: Tensor<2>,
    /// `[batch_size, d]` reconstruction from the `k` largest latents.
    pub decoded_embedding_k: Tensor<2>,
    /// `[batch_size, d]` reconstruction from the `4k` largest latents.
    pub decoded_embedding_4k: Tensor<2>,
    /// `[batch_size, d]` reconstruction from the `k` largest latents before the bias is added.
    pub decoded_embedding_k_pre_bias: Tensor<2>,
    /// `[batch_size, d]` reconstruction of the residual from dead latents; `None` with `k_aux = 0`.
    pub decoded_embedding_aux: Option<Tensor<2>>,
}
