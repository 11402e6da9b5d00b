//! Parameters by name, gradients, replacement of values.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};

use super::SparseEncoder;
use crate::NamedParameter;

impl SparseEncoder {
    /// All parameters, each once, by the reference's names and in its order.
    pub fn named_parameters(&self) -> Vec<NamedParameter> {
        let modules = self.modules.iter().enumerate();
        modules
            .flat_map(|(index, module)| module.named_parameters(&format!("{index}.")))
            .collect()
    }

    /// Takes the gradients of a backward pass, by parameter, flat: `[n_elements]`, on the plain device. A parameter that the
    /// loss does not depend on has none.
    pub fn take_gradients(&self, gradients: &mut Gradients) -> BTreeMap<ParamId, Tensor<1>> {
        struct Take<'a> {
            gradients: &'a mut Gradients,
            taken: BTreeMap<ParamId, Tensor<1>>,
        }
        impl ModuleVisitor for Take<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if let Some(gradient) = param.val().grad_remove(self.gradients) {
                    self.taken.insert(param.id, gradient.flatten(0, D - 1));
                }
            }
        }
        let mut take = Take {
            gradients,
            taken: BTreeMap::new(),
        };
        self.visit(&mut take);
        take.taken
    }

    /// Calls `visit` with every parameter's value, flat: `[n_elements]`, on the plain device.
    pub fn visit_parameters(&self, visit: impl FnMut(ParamId, Tensor<1>)) {
        struct Visit<F>(F);
        impl<F: FnMut(ParamId, Tensor<1>)> ModuleVisitor for Visit<F> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                (self.0)(param.id, plain(param.val()).flatten(0, D - 1));
            }
        }
        self.visit(&mut Visit(visit));
    }

    /// Replaces every parameter's value by what `map` makes of it, flat: `[n_elements]`, on the plain device.
    ///
    /// The state of the model, training or plain, stays as it is. `map` gets the only handle of a value whose module is
    /// not cloned elsewhere, so that an update can happen in place.
    pub fn map_parameters(self, map: impl FnMut(ParamId, Tensor<1>) -> Tensor<1>) -> Self {
        struct Map<F>(F);
        impl<F: FnMut(ParamId, Tensor<1>) -> Tensor<1>> ModuleMapper for Map<F> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                let id = param.id;
                param.map(|value| {
                    let (shape, autodiff, tracked) =
                        (value.shape(), value.is_autodiff(), value.is_require_grad());
                    let mapped = (self.0)(id, plain(value).flatten(0, D - 1)).reshape(shape);
                    if autodiff {
                        Tensor::from_inner(mapped).set_require_grad(tracked)
                    } else {
                        mapped
                    }
                })
            }
        }
        self.map(&mut Map(map))
    }
}

/// The value outside of the gradient graph.
fn plain<const D: usize>(value: Tensor<D>) -> Tensor<D> {
    if value.is_autodiff() {
        value.inner()
    } else {
        value
    }
}
