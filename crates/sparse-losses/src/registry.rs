//! Every loss by name. A new loss is one line here.

use serde::{Deserialize, Serialize};

use crate::overview::{Entry, Role};
use crate::{
    AngleLossConfig, CachedSpladeLossConfig, CoSentLossConfig, CosineSimilarityLossConfig,
    CsrLossConfig, CsrReconstructionLossConfig, DistillKlDivLossConfig, Error, Loss,
    MarginMseLossConfig, MseLossConfig, MultipleNegativesRankingLossConfig, Result,
    SigmoidLossConfig, SpladeLossConfig, TripletLossConfig, WeightedSumLossConfig,
};

macro_rules! registry {
    ($($name:literal => $variant:ident($config:ident),)+) => {
        /// A loss as a training file names it: the `[loss]` table, with the name under `type`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "type")]
        pub enum LossConfig {
            $(
                #[doc = concat!("`type = \"", $name, "\"`: see [`", stringify!($config), "`].")]
                #[serde(rename = $name)]
                $variant($config),
            )+
        }

        impl LossConfig {
            /// Every `type`, in the order of the documentation.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The `type` of this loss.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// Builds the loss.
            ///
            /// # Errors
            ///
            /// If an option, or one of a loss inside, is outside its domain.
            pub fn init(&self) -> Result<Box<dyn Loss>> {
                Ok(match self {
                    $(Self::$variant(config) => Box::new(config.init()?),)+
                })
            }

            /// Where this loss may stand.
            pub(crate) fn role(&self) -> Role {
                match self {
                    $(Self::$variant(_) => $config::ROLE,)+
                }
            }

            /// The registry as a table.
            pub(crate) fn entries() -> &'static [Entry] {
                &[$(Entry {
                    name: $name,
                    role: $config::ROLE,
                    summary: $config::SUMMARY,
                    formats: $config::FORMATS,
                },)+]
            }
        }

        $(
            impl From<$config> for LossConfig {
                fn from(config: $config) -> Self {
                    Self::$variant(config)
                }
            }
        )+
    };
}

registry! {
    "splade" => Splade(SpladeLossConfig),
    "cached_splade" => CachedSplade(CachedSpladeLossConfig),
    "csr" => Csr(CsrLossConfig),
    "csr_reconstruction" => CsrReconstruction(CsrReconstructionLossConfig),
    "multiple_negatives_ranking" => MultipleNegativesRanking(MultipleNegativesRankingLossConfig),
    "sigmoid" => Sigmoid(SigmoidLossConfig),
    "triplet" => Triplet(TripletLossConfig),
    "margin_mse" => MarginMse(MarginMseLossConfig),
    "distill_kl_div" => DistillKlDiv(DistillKlDivLossConfig),
    "co_sent" => CoSent(CoSentLossConfig),
    "angle" => Angle(AngleLossConfig),
    "cosine_similarity" => CosineSimilarity(CosineSimilarityLossConfig),
    "mse" => Mse(MseLossConfig),
    "weighted_sum" => WeightedSum(WeightedSumLossConfig),
}

impl Default for LossConfig {
    /// The reference's default: `splade` over `multiple_negatives_ranking`.
    fn default() -> Self {
        Self::Splade(SpladeLossConfig::default())
    }
}

impl LossConfig {
    /// Checks the options without keeping the loss.
    ///
    /// # Errors
    ///
    /// As [`init`](Self::init).
    pub fn validate(&self) -> Result<()> {
        self.init().map(drop)
    }

    /// Checks that this loss may be trained with as it stands: a base loss alone would never make a vector sparse.
    ///
    /// # Errors
    ///
    /// If it is a base loss that must stand inside a wrapper.
    pub fn check_stands_alone(&self) -> Result<()> {
        match self.role() {
            Role::Base => Err(Error::Unregularized { loss: self.name() }),
            Role::Standalone | Role::Wrapper => Ok(()),
        }
    }

    /// Builds the loss as a part of `outer`.
    pub(crate) fn init_inside(&self, outer: &'static str) -> Result<Box<dyn Loss>> {
        if self.role() == Role::Wrapper {
            let accepted: Vec<_> = Self::entries()
                .iter()
                .filter(|entry| entry.role != Role::Wrapper)
                .map(|entry| entry.name)
                .collect();
            return Err(Error::Nested {
                outer,
                inner: self.name(),
                accepted: accepted.join(", "),
            });
        }
        self.init()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_training_file_s_table_is_read_with_its_inner_loss() {
        let text = r#"
            type = "splade"
            document_regularizer_weight = 3e-5
            query_regularizer_weight = 5e-5
            loss = { type = "multiple_negatives_ranking", scale = 2 }
        "#;
        let config: LossConfig = toml::from_str(text).unwrap();
        let LossConfig::Splade(splade) = &config else {
            panic!("{config:?}")
        };
        assert_eq!(splade.query_regularizer_weight, Some(5e-5));
        let inner = MultipleNegativesRankingLossConfig {
            scale: 2.0,
            ..Default::default()
        };
        assert_eq!(*splade.loss, inner.into());
        assert_eq!(
            toml::from_str::<LossConfig>(&toml::to_string(&config).unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn unknown_names_and_keys_are_refused_with_the_known_ones() {
        let error = toml::from_str::<LossConfig>(r#"type = "margin_msee""#)
            .unwrap_err()
            .to_string();
        assert!(error.contains("`margin_mse`"), "{error}");
        let error = toml::from_str::<LossConfig>("type = \"triplet\"\nmargin = 3")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`margin`") && error.contains("`triplet_margin`"),
            "{error}"
        );
        let error = toml::from_str::<LossConfig>("type = \"splade\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("missing field `loss`"), "{error}");
    }

    #[test]
    fn a_base_loss_does_not_stand_alone() {
        let error = LossConfig::from(MultipleNegativesRankingLossConfig::default())
            .check_stands_alone()
            .unwrap_err();
        assert!(
            error.to_string().contains("on its own has no regularizer"),
            "{error}"
        );
        LossConfig::default().check_stands_alone().unwrap();
        LossConfig::from(MseLossConfig::default())
            .check_stands_alone()
            .unwrap();
    }

    #[test]
    fn a_wrapper_does_not_fit_inside_a_wrapper() {
        let error = SpladeLossConfig::new(LossConfig::default(), 0.1)
            .init()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`splade` cannot contain `splade`") && error.contains("margin_mse"),
            "{error}"
        );
    }

    #[test]
    fn names_are_the_built_losses_own() {
        assert_eq!(LossConfig::default().init().unwrap().name(), "splade");
        assert_eq!(LossConfig::entries().len(), LossConfig::NAMES.len());
    }
}
