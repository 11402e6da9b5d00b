//! Models and data sets of the Hugging Face hub: cached downloads and uploads.
