//! Virtual adversarial training: Miyato et al. 2018, arXiv 1704.03976; google-research/fixmatch
//! (spec/fixmatch.md 7.7).

use rematch_data::rng::Purpose;
use rematch_spec::method::Vat as Settings;
use tch::{Kind, Tensor};

use crate::batch_norm::Bn;
use crate::method::{Batch, Loss, Method, Step, Views};
use crate::ops::{cross_entropy, entropy, kl_of_logits, mean, normals};

/// What the random directions are for.
const VAT: Purpose = Purpose::named("vat");

/// The small change of an image that moves the prediction most must not move it.
#[derive(Debug)]
pub struct Vat(pub Settings);

impl Vat {
    /// The change: ε along the gradient of the divergence at a random place nearby, which is one
    /// iteration towards the direction in which it grows fastest.
    fn adversary(&self, step: &Step, u: &Tensor, z: &Tensor) -> Tensor {
        let near = unit(&normals(&mut step.stream(VAT), u)) * self.0.vat_xi;
        let near = near.set_requires_grad(true);
        let moved = step.student.logits(&(u + &near), Bn::Observe);
        let divergence = mean(&kl_of_logits(z, &moved));
        // With respect to the change alone: no weight of the network gets a gradient.
        let slopes = Tensor::run_backward(&[divergence], &[near], false, false);
        tch::no_grad(|| unit(&slopes[0]) * self.0.vat_eps)
    }
}

impl Method for Vat {
    fn views(&self) -> Views {
        Views::of_unlabeled(1)
    }

    fn loss(&mut self, step: &Step, batch: &Batch) -> Loss {
        let (student, u) = (step.student, &batch.u[0]);
        let x = student.logits(&batch.x[0], Bn::Update);
        let z = student.logits(u, Bn::Observe);
        let target = z.detach();
        let changed = u + self.adversary(step, u, &target);
        let moved = student.logits(&changed, Bn::Observe);
        let weight = self.0.vat * step.ramp_over(self.0.warmup_pos);
        Loss::new()
            .term("xe", 1.0, mean(&cross_entropy(&x, &batch.y)))
            .term("vat", weight, mean(&kl_of_logits(&moved, &target)))
            .term("entmin", self.0.entmin_weight, mean(&entropy(&z)))
    }
}

/// Each row at length 1. Dividing by the largest number first keeps squares of tiny ones from
/// vanishing; a row of zeros stays.
fn unit(rows: &Tensor) -> Tensor {
    let axes: Vec<i64> = (1..rows.dim() as i64).collect();
    let rows = rows / (rows.abs().amax(axes.as_slice(), true) + 1e-12);
    let squares = rows.square();
    &rows / (squares.sum_dim_intlist(axes.as_slice(), true, Kind::Float) + 1e-6).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::{
        assert_close, assert_slope, batch, identity, loss, step, values,
    };
    use tch::Device;

    // Made by tests/reference/vat.py: plain Python in double precision.
    const XE: f64 = 1.20829153;
    const VAT: f64 = 0.0251523755;
    const ENTMIN: f64 = 0.467492851;
    const GRADIENT: [f64; 9] = [
        0.0538850, 0.0268485, -0.0266618, -0.0322964, -0.0010512, 0.0049264, -0.0215886,
        -0.0257974, 0.0217355,
    ];

    fn vat() -> Vat {
        Vat(Settings {
            vat_xi: 0.1,
            vat_eps: 0.5,
            ..Settings::default()
        })
    }

    #[test]
    fn losses_and_their_slope_are_those_of_an_independent_implementation() {
        let network = identity(3);
        let found = loss(&mut vat(), &network);
        assert_close(&values(&found), &[XE, VAT, ENTMIN]);
        assert_slope(&network, &found.terms[1].2, &GRADIENT);
    }

    #[test]
    fn looking_for_the_adversary_leaves_no_gradient() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = step(&network, &teacher);
        let u = &batch().u[0];
        let z = network.logits(u, Bn::Observe).detach();
        let change = vat().adversary(&step, u, &z);
        assert!(!change.requires_grad());
        for variable in network.variables() {
            assert!(!variable.tensor.grad().defined(), "{}", variable.name);
        }
        let _ = loss(&mut vat(), &network);
        for variable in network.variables() {
            assert!(!variable.tensor.grad().defined(), "{}", variable.name);
        }
    }

    #[test]
    fn the_adversary_moves_more_than_chance() {
        let network = identity(3);
        let teacher = network.teacher(false);
        let step = step(&network, &teacher);
        let u = &batch().u[0];
        let z = network.logits(u, Bn::Observe).detach();
        let moved =
            |change: &Tensor| mean(&kl_of_logits(&(&z + change.view_as(&z)), &z)).double_value(&[]);
        let worst = moved(&vat().adversary(&step, u, &z));
        for seed in 0..5 {
            let random = Step { seed, ..step };
            let direction = unit(&normals(&mut random.stream(super::VAT), u)) * 0.5;
            assert!(moved(&direction) < worst);
        }
    }

    #[test]
    fn a_unit_row_has_length_one_and_nothing_stays_nothing() {
        let rows = Tensor::from_slice(&[3e-20_f32, 4e-20, 0.0, 0.0]).view([2, 2, 1, 1]) * 1e18;
        let found = Vec::<f64>::try_from(unit(&rows).view([4]).to_kind(Kind::Double)).unwrap();
        assert_close(&found, &[0.6, 0.8, 0.0, 0.0]);
        let tiny = Tensor::full([1, 4], 1e-9, (Kind::Float, Device::Cpu));
        assert!((unit(&tiny) - 0.5).abs().max().double_value(&[]) < 1e-3);
    }
}
