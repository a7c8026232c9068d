//! What tch does not bind, through the C++ shim in `shim/`; the only unsafe code of rematch.
//!
//! Every function passes tensors as `at::Tensor*`, which is what tch's tensors hold, and returns an
//! exception of libtorch as [`Error`].

pub mod group;

use std::ffi::{CStr, c_char, c_int, c_void};

use tch::Tensor;
use torch_sys::C_tensor;

/// An exception of libtorch, in its words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("libtorch: {0}")]
pub struct Error(pub String);

unsafe extern "C" {
    fn rematch_free_text(text: *mut c_char);
    fn rematch_torch_version() -> *const c_char;
    fn rematch_tune_malloc();
    fn rematch_limit_memory(part: f64) -> *mut c_char;
    fn rematch_allow_tf32(on: c_int);
    fn rematch_set_deterministic(on: c_int);
    fn rematch_fused_sgd(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        momenta: *const *mut C_tensor,
        count: usize,
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        nesterov: c_int,
    ) -> *mut c_char;
    fn rematch_fused_adam(
        parameters: *const *mut C_tensor,
        gradients: *const *mut C_tensor,
        means: *const *mut C_tensor,
        variances: *const *mut C_tensor,
        count: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        epsilon: f64,
        weight_decay: f64,
        step: f64,
    ) -> *mut c_char;
    fn rematch_scale(targets: *const *mut C_tensor, count: usize, factor: f64) -> *mut c_char;
    fn rematch_lerp(
        targets: *const *mut C_tensor,
        sources: *const *mut C_tensor,
        count: usize,
        weight: f64,
    ) -> *mut c_char;
    fn rematch_has_gradient(parameter: *mut C_tensor) -> c_int;
    fn rematch_reset_gradients(parameters: *const *mut C_tensor, count: usize) -> *mut c_char;
    fn rematch_channels_last(input: *mut C_tensor, error: *mut *mut c_char) -> *mut C_tensor;
    fn rematch_autocast_bf16(like: *mut C_tensor, on: c_int) -> *mut c_char;
    fn rematch_leaky_relu(x: *mut C_tensor, slope: f64) -> *mut c_char;
    fn rematch_read_back(input: *mut C_tensor, error: *mut *mut c_char) -> *mut C_tensor;
    fn rematch_upload(
        input: *mut C_tensor,
        like: *mut C_tensor,
        error: *mut *mut c_char,
    ) -> *mut C_tensor;
    fn rematch_event_record(like: *mut C_tensor, event: *mut *mut c_void) -> *mut c_char;
    fn rematch_event_wait(event: *mut c_void) -> *mut c_char;
}

unsafe extern "C" {
    fn dlopen(file: *const c_char, flags: c_int) -> *mut c_void;
    fn dlerror() -> *mut c_char;
}

/// The result of a shim function that returns null or a text.
fn check(text: *mut c_char) -> Result<(), Error> {
    if text.is_null() {
        return Ok(());
    }
    // SAFETY: the shim returns null or a text of its own, ended by a zero, that we free once.
    unsafe {
        let message = CStr::from_ptr(text).to_string_lossy().into_owned();
        rematch_free_text(text);
        Err(Error(message))
    }
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}

/// Version of libtorch, such as `2.11.0`.
pub fn torch_version() -> String {
    // SAFETY: a constant of the shim.
    unsafe {
        CStr::from_ptr(rematch_torch_version())
            .to_string_lossy()
            .into_owned()
    }
}

/// Makes the allocator keep freed memory. A step allocates and frees the same sizes over and over;
/// giving the large ones back to the system each time costs about a tenth of a step on the CPU.
pub fn tune_malloc() {
    // SAFETY: sets three limits of malloc.
    unsafe { rematch_tune_malloc() }
}

/// Lets this process take that part of a GPU's memory and no more; what asks for more is out of memory
/// itself, and not a neighbour. Must come before [`load_cuda`].
pub fn limit_memory(part: f64) -> Result<(), Error> {
    // SAFETY: sets a variable of the environment, in the first steps of the program.
    check(unsafe { rematch_limit_memory(part) })
}

/// Lets a GPU cut the numbers that it multiplies to TF32, or not; libtorch itself lets convolutions.
pub fn allow_tf32(on: bool) {
    // SAFETY: sets switches of libtorch.
    unsafe { rematch_allow_tf32(c_int::from(on)) }
}

/// Makes operations give the same bits each time; one that cannot is an exception from then on.
pub fn set_deterministic(on: bool) {
    // SAFETY: sets switches of libtorch.
    unsafe { rematch_set_deterministic(c_int::from(on)) }
}

/// Loads libtorch's CUDA library, if it is there, so that libtorch sees GPUs.
///
/// Must come before the first question about CUDA: libtorch remembers the answer for good.
///
/// # Errors
/// The loader's message where the library, or one that it needs, is missing.
pub fn load_cuda() -> Result<(), Error> {
    const NOW: c_int = 2;
    // SAFETY: names a library of libtorch, whose initialisers are made to be run like this.
    unsafe {
        if !dlopen(c"libtorch_cuda.so".as_ptr(), NOW).is_null() {
            return Ok(());
        }
        let message = dlerror();
        if message.is_null() {
            return Err(Error("libtorch_cuda.so could not be loaded".into()));
        }
        Err(Error(
            CStr::from_ptr(message).to_string_lossy().into_owned(),
        ))
    }
}

/// Settings of one fused SGD update.
#[derive(Clone, Copy, Debug)]
pub struct SgdStep {
    /// Learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Added to each gradient, times the parameter.
    pub weight_decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
}

/// v ← momentum·v + g; w ← w − lr·(g + momentum·v) (Nesterov), g with weight decay, for all at once.
///
/// # Panics
/// Where the lists differ in length.
pub fn fused_sgd(
    parameters: &[Tensor],
    gradients: &[Tensor],
    momenta: &[Tensor],
    step: SgdStep,
) -> Result<(), Error> {
    assert!(parameters.len() == gradients.len() && parameters.len() == momenta.len());
    let (w, g, v) = (pointers(parameters), pointers(gradients), pointers(momenta));
    // SAFETY: three lists of as many live tensors as the count says.
    check(unsafe {
        rematch_fused_sgd(
            w.as_ptr(),
            g.as_ptr(),
            v.as_ptr(),
            w.len(),
            step.lr,
            step.momentum,
            step.weight_decay,
            c_int::from(step.nesterov),
        )
    })
}

/// Settings of one fused Adam update.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Learning rate.
    pub lr: f64,
    /// β₁.
    pub beta1: f64,
    /// β₂.
    pub beta2: f64,
    /// ε, added to √(v/(1−β₂ᵗ)).
    pub epsilon: f64,
    /// Added to each gradient, times the parameter.
    pub weight_decay: f64,
    /// t, from 1.
    pub step: f64,
}

/// Adam for all at once: means and variances follow the gradients, parameters go against them.
///
/// # Panics
/// Where the lists differ in length.
pub fn fused_adam(
    parameters: &[Tensor],
    gradients: &[Tensor],
    means: &[Tensor],
    variances: &[Tensor],
    step: AdamStep,
) -> Result<(), Error> {
    let count = parameters.len();
    assert!(
        [gradients, means, variances]
            .iter()
            .all(|list| list.len() == count)
    );
    let lists = [parameters, gradients, means, variances].map(pointers);
    let [w, g, m, v] = &lists;
    // SAFETY: four lists of as many live tensors as the count says.
    check(unsafe {
        rematch_fused_adam(
            w.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            count,
            step.lr,
            step.beta1,
            step.beta2,
            step.epsilon,
            step.weight_decay,
            step.step,
        )
    })
}

/// targets ← factor·targets, for all at once.
pub fn scale(targets: &[Tensor], factor: f64) -> Result<(), Error> {
    let list = pointers(targets);
    // SAFETY: a list of as many live tensors as the count says.
    check(unsafe { rematch_scale(list.as_ptr(), list.len(), factor) })
}

/// targets ← targets + weight·(sources − targets), for all at once.
///
/// # Panics
/// Where the lists differ in length.
pub fn lerp(targets: &[Tensor], sources: &[Tensor], weight: f64) -> Result<(), Error> {
    assert_eq!(targets.len(), sources.len());
    let (to, from) = (pointers(targets), pointers(sources));
    // SAFETY: two lists of as many live tensors as the count says.
    check(unsafe { rematch_lerp(to.as_ptr(), from.as_ptr(), to.len(), weight) })
}

/// Whether a parameter has a gradient.
pub fn has_gradient(parameter: &Tensor) -> bool {
    // SAFETY: a live tensor.
    unsafe { rematch_has_gradient(parameter.as_ptr().cast_mut()) != 0 }
}

/// Forgets gradients, so that the next backward pass writes them instead of adding.
pub fn reset_gradients(parameters: &[Tensor]) -> Result<(), Error> {
    let list = pointers(parameters);
    // SAFETY: a list of as many live tensors as the count says.
    check(unsafe { rematch_reset_gradients(list.as_ptr(), list.len()) })
}

/// The same four-dimensional tensor with channels last in memory.
pub fn channels_last(input: &Tensor) -> Result<Tensor, Error> {
    produced(|error| {
        // SAFETY: a live tensor, a place for the error.
        unsafe { rematch_channels_last(input.as_ptr().cast_mut(), error) }
    })
}

/// A copy in the host's memory that may not be there yet; wait for an [`Event`] recorded after it.
pub fn read_back(input: &Tensor) -> Result<Tensor, Error> {
    produced(|error| {
        // SAFETY: a live tensor, a place for the error.
        unsafe { rematch_read_back(input.as_ptr().cast_mut(), error) }
    })
}

/// A copy on the device of `like` that work queued later may use; on the CPU the tensor itself.
pub fn upload(input: &Tensor, like: &Tensor) -> Result<Tensor, Error> {
    produced(|error| {
        // SAFETY: two live tensors, a place for the error.
        unsafe { rematch_upload(input.as_ptr().cast_mut(), like.as_ptr().cast_mut(), error) }
    })
}

fn produced(call: impl FnOnce(*mut *mut c_char) -> *mut C_tensor) -> Result<Tensor, Error> {
    let mut error = std::ptr::null_mut();
    let result = call(&raw mut error);
    check(error)?;
    // SAFETY: without an error the shim returns a tensor that is ours to free.
    Ok(unsafe { Tensor::from_ptr(result) })
}

/// x ← max(x, slope·x), in place; returns x.
pub fn leaky_relu(x: Tensor, slope: f64) -> Tensor {
    // SAFETY: a live tensor.
    let done = check(unsafe { rematch_leaky_relu(x.as_ptr().cast_mut(), slope) });
    // Like tch's own operations: an exception here is a defect of ours.
    done.unwrap_or_else(|error| panic!("{error}"));
    x
}

/// Runs convolutions and matrix products in bf16 until it is dropped.
#[derive(Debug)]
pub struct Autocast {
    like: Tensor,
}

impl Autocast {
    /// Starts autocast on the device of `like`.
    pub fn bf16(like: &Tensor) -> Result<Self, Error> {
        let like = like.shallow_clone();
        // SAFETY: a live tensor.
        check(unsafe { rematch_autocast_bf16(like.as_ptr().cast_mut(), 1) })?;
        Ok(Self { like })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        // SAFETY: a live tensor; ends what `bf16` began.
        let _ = check(unsafe { rematch_autocast_bf16(self.like.as_ptr().cast_mut(), 0) });
    }
}

/// A point in a device's work queue; nothing on the CPU, where work is done when a call returns.
#[derive(Debug)]
pub struct Event(*mut c_void);

impl Event {
    /// Marks the point that the device of `like` has been told to reach by now.
    pub fn record(like: &Tensor) -> Result<Self, Error> {
        let mut event = std::ptr::null_mut();
        // SAFETY: a live tensor, a place for the event.
        check(unsafe { rematch_event_record(like.as_ptr().cast_mut(), &raw mut event) })?;
        Ok(Self(event))
    }

    /// Waits until the device is there.
    pub fn wait(mut self) -> Result<(), Error> {
        self.finish()
    }

    fn finish(&mut self) -> Result<(), Error> {
        let event = std::mem::replace(&mut self.0, std::ptr::null_mut());
        // SAFETY: null, or an event that is waited for and freed once.
        check(unsafe { rematch_event_wait(event) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn numbers(values: &[f32]) -> Tensor {
        Tensor::from_slice(values)
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn fused_sgd_follows_the_formula() {
        let (w, g, v) = (numbers(&[1., -2.]), numbers(&[0.5, 4.]), numbers(&[3., 0.]));
        let (lr, momentum, weight_decay) = (0.1, 0.9, 0.01);
        let expected: Vec<f32> = [(1., 0.5, 3.), (-2., 4., 0.)]
            .into_iter()
            .map(|(w, g, v)| {
                let g: f64 = g + weight_decay * w;
                let v = momentum * v + g;
                (w - lr * (g + momentum * v)) as f32
            })
            .collect();
        let step = SgdStep {
            lr,
            momentum,
            weight_decay,
            nesterov: true,
        };
        fused_sgd(&[w.shallow_clone()], &[g], &[v.shallow_clone()], step).unwrap();
        for (found, expected) in values(&w).iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
        assert!((values(&v)[0] - (2.7 + 0.51)).abs() < 1e-6);
    }

    #[test]
    fn fused_sgd_takes_channels_last() {
        let w = channels_last(&Tensor::ones([2, 3, 3, 3], (Kind::Float, Device::Cpu))).unwrap();
        let (g, v) = (w.ones_like(), w.zeros_like());
        let step = SgdStep {
            lr: 0.5,
            momentum: 0.,
            weight_decay: 0.,
            nesterov: false,
        };
        fused_sgd(&[w.shallow_clone()], &[g], &[v], step).unwrap();
        assert_eq!(w.sum(Kind::Float).double_value(&[]), 27.);
    }

    #[test]
    fn a_limit_of_memory_stands_behind_what_the_user_set() {
        // In a process of its own: the environment belongs to all threads.
        if std::env::var_os("REMATCH_TEST_LIMIT").is_some() {
            limit_memory(0.25).unwrap();
            // What C's environment holds now, a program that is started next sees.
            let env = std::process::Command::new("env").output().unwrap();
            print!("{}", String::from_utf8(env.stdout).unwrap());
            return;
        }
        for (set, expected) in [("", ""), ("backend:native", "backend:native,")] {
            let found = std::process::Command::new(std::env::current_exe().unwrap())
                .args(["a_limit_of_memory", "--nocapture"])
                .env("REMATCH_TEST_LIMIT", "1")
                .env("PYTORCH_CUDA_ALLOC_CONF", set)
                .output()
                .unwrap();
            let found = String::from_utf8(found.stdout).unwrap();
            let wanted =
                format!("PYTORCH_CUDA_ALLOC_CONF={expected}per_process_memory_fraction:0.25");
            assert!(found.contains(&wanted), "{found}");
        }
    }

    #[test]
    fn lerp_goes_a_part_of_the_way() {
        let (to, from) = (numbers(&[0., 8.]), numbers(&[4., 0.]));
        lerp(&[to.shallow_clone()], &[from], 0.25).unwrap();
        assert_eq!(values(&to), [1., 6.]);
    }

    #[test]
    fn reset_gradients_are_gone_and_come_back() {
        let w = numbers(&[1., 2.]).set_requires_grad(true);
        for _ in 0..2 {
            assert!(!has_gradient(&w));
            (&w * &w).sum(Kind::Float).backward();
            assert_eq!(values(&w.grad()), [2., 4.]);
            reset_gradients(&[w.shallow_clone()]).unwrap();
        }
    }

    #[test]
    fn channels_last_changes_the_strides_alone() {
        let x = Tensor::arange(48, (Kind::Float, Device::Cpu)).view([1, 3, 4, 4]);
        let y = channels_last(&x).unwrap();
        assert_eq!(y.stride(), [48, 1, 12, 3]);
        assert_eq!(x, y);
    }

    #[test]
    fn leaky_relu_has_the_given_slope() {
        assert_eq!(
            values(&leaky_relu(numbers(&[-10., 0., 3.]), 0.1)),
            [-1., 0., 3.]
        );
    }

    #[test]
    fn autocast_computes_in_bf16_until_it_ends() {
        let x = Tensor::ones([2, 2], (Kind::Float, Device::Cpu));
        let inside = {
            let _autocast = Autocast::bf16(&x).unwrap();
            x.matmul(&x).kind()
        };
        assert_eq!(inside, Kind::BFloat16);
        assert_eq!(x.matmul(&x).kind(), Kind::Float);
    }

    #[test]
    fn an_exception_is_an_error_with_its_text() {
        let step = SgdStep {
            lr: 0.1,
            momentum: 0.9,
            weight_decay: 0.,
            nesterov: true,
        };
        let error = fused_sgd(
            &[numbers(&[1.])],
            &[numbers(&[1., 2., 3.])],
            &[numbers(&[1.])],
            step,
        );
        assert!(error.unwrap_err().0.len() > 10);
        assert!(lerp(&[numbers(&[1.])], &[numbers(&[1., 2.])], 0.5).is_err());
        assert!(channels_last(&numbers(&[1.])).is_err());
    }

    #[test]
    fn read_back_and_upload_are_copies_on_the_cpu() {
        let x = numbers(&[1., 2.]);
        let copy = read_back(&x).unwrap();
        Event::record(&x).unwrap().wait().unwrap();
        let _ = x.shallow_clone().zero_();
        assert_eq!(values(&copy), [1., 2.]);
        assert_eq!(values(&upload(&copy, &x).unwrap()), [1., 2.]);
    }
}
