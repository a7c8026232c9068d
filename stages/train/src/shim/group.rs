//! A group of processes that train together, as the shim has it (`shim/group.h`).

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{Error, check, pointers, produced};

unsafe extern "C" {
    fn rematch_group_join(
        store: *const c_char,
        rank: c_int,
        size: c_int,
        like: *mut C_tensor,
        joined: *mut *mut c_void,
    ) -> *mut c_char;
    fn rematch_group_leave(left: *mut c_void);
    fn rematch_group_failure(with: *mut c_void) -> *mut c_char;
    fn rematch_group_sum(
        with: *mut c_void,
        x: *mut C_tensor,
        sum_values: c_int,
        sum_gradients: c_int,
        factor: f64,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn rematch_group_average(
        with: *mut c_void,
        tensors: *const *mut C_tensor,
        count: usize,
    ) -> *mut c_char;
}

/// One process's place in a group.
///
/// Gradients refer to it without holding it: whoever drops it must have dropped every graph that a sum is
/// part of.
#[derive(Debug)]
pub struct Group(*mut c_void);

// SAFETY: the shim's group has a lock around all that changes.
unsafe impl Send for Group {}
// SAFETY: as above.
unsafe impl Sync for Group {}

impl Group {
    /// Joins `size` processes that meet at the file `store`, for tensors on the device of `like`.
    pub fn join(store: &Path, rank: usize, size: usize, like: &Tensor) -> Result<Self, Error> {
        let store = CString::new(store.as_os_str().as_bytes()).map_err(|e| Error(e.to_string()))?;
        let mut joined = std::ptr::null_mut();
        // SAFETY: a text ended by a zero, a live tensor, a place for the group.
        check(unsafe {
            rematch_group_join(
                store.as_ptr(),
                rank as c_int,
                size as c_int,
                like.as_ptr().cast_mut(),
                &raw mut joined,
            )
        })?;
        Ok(Self(joined))
    }

    /// Why a sum could not be made. All later ones leave their tensor as it is.
    pub fn failure(&self) -> Option<Error> {
        // SAFETY: a live group.
        check(unsafe { rematch_group_failure(self.0) }).err()
    }

    /// Σ x over the group where `values`, else x; on the way back the gradient, summed over the group where
    /// `gradients`, times `factor`.
    pub fn sum(
        &self,
        x: &Tensor,
        values: bool,
        gradients: bool,
        factor: f64,
    ) -> Result<Tensor, Error> {
        let (values, gradients) = (c_int::from(values), c_int::from(gradients));
        produced(|error| {
            // SAFETY: a live group, a live tensor, a place for the error.
            unsafe {
                let x = x.as_ptr().cast_mut();
                rematch_group_sum(self.0, x, values, gradients, factor, error)
            }
        })
    }

    /// Each of these becomes its mean over the group.
    pub fn average(&self, tensors: &[Tensor]) -> Result<(), Error> {
        let list = pointers(tensors);
        // SAFETY: a live group, a list of as many live tensors as the count says.
        check(unsafe { rematch_group_average(self.0, list.as_ptr(), list.len()) })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: ours, and freed once.
        unsafe { rematch_group_leave(self.0) }
    }
}
