//! The networks.

pub mod wrn;

use rematch_spec::train;

use crate::network::{Body, Builder, Shape};

/// The body that `spec` names.
pub fn build(spec: &train::Network, shape: Shape, builder: &mut Builder) -> Box<dyn Body> {
    match spec {
        train::Network::Resnet(size) => Box::new(wrn::Wrn::new(builder, size, shape)),
    }
}
