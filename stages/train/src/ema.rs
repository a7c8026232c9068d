//! The teacher: a moving average of the student's trained variables.

use tch::Tensor;

use crate::network::{Network, Role};
use crate::shim::{self, Error};

/// Moves a teacher after its student. Running statistics are averaged only where the teacher has its
/// own; otherwise it uses the student's (spec/fixmatch.md 6).
#[derive(Debug)]
pub struct Ema {
    teacher: Vec<Tensor>,
    student: Vec<Tensor>,
    decay: f64,
    fused: bool,
}

impl Ema {
    /// Of a student and the teacher made from it; `fused` over all variables at once.
    pub fn new(student: &Network, teacher: &Network, decay: f64, fused: bool) -> Self {
        let all = teacher.variables().iter().zip(student.variables());
        let (teacher, student) = all
            .filter(|(to, _)| to.role != Role::Statistic || teacher.has_own_statistics())
            .map(|(to, from)| (to.tensor.shallow_clone(), from.tensor.shallow_clone()))
            .unzip();
        Self {
            teacher,
            student,
            decay,
            fused,
        }
    }

    /// teacher ← decay·teacher + (1 − decay)·student, without bias correction.
    pub fn update(&self) -> Result<(), Error> {
        if self.fused {
            return shim::lerp(&self.teacher, &self.student, 1.0 - self.decay);
        }
        tch::no_grad(|| {
            for (teacher, student) in self.teacher.iter().zip(&self.student) {
                let step = (student - teacher) * (1.0 - self.decay);
                let _ = teacher.shallow_clone().g_add_(&step);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::methods::testing::linear;

    #[test]
    fn the_teacher_follows_by_its_decay() {
        for fused in [true, false] {
            let student = linear(3, 2);
            let teacher = student.teacher(false);
            let ema = Ema::new(&student, &teacher, 0.75, fused);
            let start = student.variables()[0].tensor.double_value(&[0, 0]);
            tch::no_grad(|| {
                let _ = student.variables()[0]
                    .tensor
                    .shallow_clone()
                    .fill_(start + 4.0);
            });
            for expected in [1.0, 1.75] {
                ema.update().unwrap();
                let found = teacher.variables()[0].tensor.double_value(&[0, 0]) - start;
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }
}
