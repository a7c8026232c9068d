//! The networks.

pub mod wrn;

use rematch_spec::network::Network;

use crate::network::{Body, Builder, Shape};

/// The body that `spec` names.
pub fn build(spec: &Network, shape: Shape, builder: &mut Builder) -> Box<dyn Body> {
    match spec {
        Network::Resnet(size) => Box::new(wrn::Wrn::new(builder, size, shape)),
        _ => todo!(),
    }
}

/// How many features an image gets from it, without building it.
pub fn features(spec: &Network, shape: Shape) -> i64 {
    match spec {
        Network::Resnet(size) => {
            size.filters << (wrn::scales(size.scales, shape.width) - 1).clamp(0, 30)
        }
        Network::Wrn(size) => size.filters * 4,
        Network::Cnn13(size) => size.filters,
        Network::Shake(size) => {
            size.filters << (wrn::scales(size.scales, shape.width) - 1).clamp(0, 30)
        }
        Network::Res18(size) => size.filters * 8,
        Network::Resnet18(_) => 512,
        Network::Resnet50(_) => 2048,
    }
}
