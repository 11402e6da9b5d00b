//! From a name to a device.

use burn::tensor::Device;

/// The name of a device that doesn't exist, or whose backend isn't compiled in.
#[derive(Debug, Clone, thiserror::Error)]
#[error("unknown device `{name}`: this build knows {}", known.join(", "))]
pub struct UnknownDevice {
    /// What was asked for.
    pub name: String,
    /// What there is.
    pub known: Vec<&'static str>,
}

/// The device called `name`: `cpu` (or `flex`), `cuda`, `cuda:1`, `rocm:0`, `wgpu`, `vulkan`, `metal`, `tch`, each where the
/// feature of that name is compiled in; `auto` is the first of them, GPUs first.
///
/// # Errors
///
/// [`UnknownDevice`] with the names that this build knows.
pub fn device(name: &str) -> Result<Device, UnknownDevice> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse::<usize>().ok()),
        None => (name, Some(0)),
    };
    let found = index.and_then(|index| by_kind(kind, index));
    found.ok_or_else(|| UnknownDevice {
        name: name.to_owned(),
        known: KNOWN.to_vec(),
    })
}

const KNOWN: &[&str] = &[
    "auto",
    #[cfg(feature = "flex")]
    "cpu",
    #[cfg(feature = "cuda")]
    "cuda:N",
    #[cfg(feature = "rocm")]
    "rocm:N",
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
    "wgpu",
    #[cfg(feature = "tch")]
    "tch",
];

fn by_kind(kind: &str, index: usize) -> Option<Device> {
    let only = |device: Device| (index == 0).then_some(device);
    match kind {
        "auto" => only(Device::default()),
        #[cfg(feature = "flex")]
        "cpu" | "flex" => only(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index)),
        #[cfg(feature = "rocm")]
        "rocm" => Some(Device::rocm(index)),
        #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
        "wgpu" | "vulkan" | "metal" => only(Device::wgpu(Default::default())),
        #[cfg(feature = "tch")]
        "tch" => only(Device::libtorch()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::device;

    #[test]
    fn devices_are_found_by_name() {
        assert!(device("cpu").is_ok());
        assert!(device("auto").is_ok());
        let message = device("cqu").unwrap_err().to_string();
        assert!(
            message.starts_with("unknown device `cqu`: this build knows auto, cpu"),
            "{message}"
        );
        assert!(device("cpu:1").is_err());
    }
}
