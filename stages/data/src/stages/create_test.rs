//! `create_test`: a test set in class-proportional order, or a long-tailed part of it.

use rematch_spec::create_test::CreateTest;
use rematch_spec::job::Report;

use super::create_unlabeled::reorder;
use crate::child::Child;
use crate::error::StageError;

pub(super) fn run(child: &Child) -> Result<Report, StageError> {
    let params: CreateTest = child.params()?;
    reorder(
        child,
        &params.test,
        false,
        params.imbalance.as_ref(),
        "test",
    )
}
