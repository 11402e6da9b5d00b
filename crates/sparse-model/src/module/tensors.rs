//! Parameters on their way into a weights file.

use std::fmt;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::parameter::ParameterEntry;
use crate::pretrained::TensorBytes;
use crate::{Error, Result, WeightType};

/// The parameters of a module as they are written into a file.
pub(crate) fn tensors_to_save<M: Module>(
    module: &M,
    entries: &[ParameterEntry],
    weight_type: WeightType,
) -> Result<Vec<TensorBytes>> {
    struct Collect<'a> {
        entries: &'a [ParameterEntry],
        weight_type: WeightType,
        tensors: Vec<TensorBytes>,
        failed: Option<Error>,
    }
    impl Collect<'_> {
        fn add<const D: usize>(&mut self, param: &Param<Tensor<D>>) -> Result<()> {
            let Some(entry) = self.entries.iter().find(|entry| entry.id == param.id) else {
                return Ok(());
            };
            let data = param.val().try_into_data_as::<f32>();
            let failed = |error: &dyn fmt::Display| {
                Error::Device(format!("the values of `{}`: {error}", entry.name))
            };
            let data = data.map_err(|error| failed(&error))?;
            let values = data.as_slice::<f32>();
            let values = values.map_err(|error| failed(&format!("{error:?}")))?;
            self.weight_type.check_range(&entry.file_key, values)?;
            let (dtype, width, bytes) = self.weight_type.encode(values);
            let (key, shape) = (entry.file_key.clone(), entry.shape.clone());
            self.tensors.push(TensorBytes {
                key,
                dtype,
                width,
                shape,
                bytes,
            });
            Ok(())
        }
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.failed.is_none()
                && let Err(error) = self.add(param)
            {
                self.failed = Some(error);
            }
        }
    }
    let mut collect = Collect {
        entries,
        weight_type,
        tensors: Vec::with_capacity(entries.len()),
        failed: None,
    };
    module.visit(&mut collect);
    match collect.failed {
        Some(error) => Err(error),
        None => Ok(collect.tensors),
    }
}
