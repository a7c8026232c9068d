//! The networks, one file each, under their names in YAML.

pub mod blocks;
pub mod cnn13;
pub mod res18;
pub mod resnet;
pub mod resnet18;
pub mod resnet50;
pub mod shake;
pub mod wrn;

use rematch_data::child::StageError;
use rematch_spec::network::Network;

use crate::network::{Body, Builder, Shape};
use cnn13::Cnn13;
use res18::Res18;
use resnet::{Resnet, scales};
use resnet18::Resnet18;
use resnet50::Resnet50;
use shake::Shake;
use wrn::Wrn;

/// The body that `spec` names.
pub fn build(spec: &Network, shape: Shape, builder: &mut Builder) -> Box<dyn Body> {
    match spec {
        Network::Resnet(size) => Box::new(Resnet::new(builder, size, shape)),
        Network::Wrn(size) => Box::new(Wrn::new(builder, size, shape)),
        Network::Cnn13(size) => Box::new(Cnn13::new(builder, size, shape)),
        Network::Shake(size) => Box::new(Shake::new(builder, size, shape)),
        Network::Res18(size) => Box::new(Res18::new(builder, size, shape)),
        Network::Resnet18(_) => Box::new(Resnet18::new(builder, resnet18::FILTERS, shape)),
        Network::Resnet50(_) => Box::new(Resnet50::new(builder, resnet50::FILTERS, shape)),
    }
}

/// How many features an image gets from it, without building it.
pub fn features(spec: &Network, shape: Shape) -> i64 {
    let last = |wanted| (scales(wanted, shape.width) - 1).clamp(0, 30);
    match spec {
        Network::Resnet(size) => size.filters << last(size.scales),
        Network::Wrn(size) => size.filters << 2,
        Network::Cnn13(size) => size.filters,
        Network::Shake(size) => size.filters << last(size.scales),
        Network::Res18(size) => size.filters << 3,
        Network::Resnet18(_) => resnet18::FILTERS << 3,
        Network::Resnet50(_) => (resnet50::FILTERS << 3) * resnet50::EXPANSION,
    }
}

/// Refuses images that a network cannot take, and says why.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check(spec: &Network, shape: Shape) -> Result<(), StageError> {
    let name = spec.name();
    let Shape { height, width, .. } = shape;
    let least = match spec {
        Network::Cnn13(_) => Cnn13::LEAST,
        Network::Res18(_) => Res18::LEAST,
        _ => 1,
    };
    if height < least || width < least {
        let message = format!(
            "network `{name}` takes images of {least}×{least} pixels and more, these have {height}×{width}"
        );
        return Err(StageError::failed(message).help("take another `network`, or larger images"));
    }
    if let Network::Shake(size) = spec {
        // Its shortcuts take apart even and odd rows, of which there must be as many.
        let stages = scales(size.scales, width);
        let step = 1 << (stages - 1);
        if height % step != 0 || width % step != 0 {
            let message = format!(
                "network `shake` halves the image {} times, and {height}×{width} pixels cannot be",
                stages - 1
            );
            return Err(StageError::failed(message).help("lower `network.shake.scales`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
