#include "guarded.h"
#include "shim.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/headeronly/version.h>

namespace {

std::vector<at::Tensor> list(const tensor *tensors, size_t count) {
  std::vector<at::Tensor> all;
  all.reserve(count);
  for (size_t i = 0; i < count; i++) all.push_back(*tensors[i]);
  return all;
}

// Gradients in the layout of their parameters: kernels on the CPU walk raw memory and trust that the
// lists of an update look alike.
void match(const std::vector<at::Tensor> &w, std::vector<at::Tensor> &g, const std::vector<at::Tensor> &moments) {
  for (size_t i = 0; i < w.size(); i++) {
    TORCH_CHECK(g[i].defined(), "parameter ", i, " has no gradient");
    TORCH_CHECK(g[i].sizes() == w[i].sizes() && moments[i].sizes() == w[i].sizes(), "parameter ", i,
                " differs in shape from its gradient or moment");
    if (g[i].strides() != w[i].strides()) g[i] = at::empty_like(w[i]).copy_(g[i]);
    TORCH_CHECK(moments[i].strides() == w[i].strides(), "parameter ", i, " differs in layout from its moment");
  }
}

} // namespace

void rematch_free_text(char *text) { free(text); }

const char *rematch_torch_version() { return TORCH_VERSION; }

char *rematch_limit_memory(double part) {
  return guarded([&] {
    // Read once, when the allocator starts.
    const char *name = "PYTORCH_CUDA_ALLOC_CONF", *set = getenv(name);
    std::string all = set && *set ? std::string(set) + "," : "";
    all += "per_process_memory_fraction:" + std::to_string(part);
    TORCH_CHECK(setenv(name, all.c_str(), 1) == 0, "cannot set ", name);
  });
}

void rematch_allow_tf32(int on) {
  auto &context = at::globalContext();
  context.setAllowTF32CuDNN(on);
  context.setAllowTF32CuBLAS(on);
}

void rematch_set_deterministic(int on) {
  // Without a workspace of a fixed size, sums of cuBLAS may come in another order; libtorch insists on it.
  if (on) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  auto &context = at::globalContext();
  context.setDeterministicCuDNN(on);
  context.setDeterministicAlgorithms(on, /*warn_only=*/false);
  // Memory that is not yet written needs no filling for that; PyTorch does it to find faults.
  context.setDeterministicFillUninitializedMemory(false);
}

void rematch_tune_malloc() {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 64 << 20);
}

char *rematch_fused_sgd(const tensor *parameters, const tensor *gradients, const tensor *momenta,
                        size_t count, double lr, double momentum, double weight_decay, int nesterov) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count == 0) return;
    auto w = list(parameters, count), g = list(gradients, count), v = list(momenta, count);
    match(w, g, v);
    if (momentum == 0.0) v.clear();
    // is_first_step would copy the gradient into the momentum buffer; ours starts at zero, which is
    // the same without dampening, and needs no memory of whether a step was the first.
    at::_fused_sgd_(w, g, v, weight_decay, momentum, lr, /*dampening=*/0.0, nesterov != 0,
                    /*maximize=*/false, /*is_first_step=*/false);
  });
}

char *rematch_fused_adam(const tensor *parameters, const tensor *gradients, const tensor *means,
                         const tensor *variances, size_t count, double lr, double beta1, double beta2,
                         double epsilon, double weight_decay, double step) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    if (count == 0) return;
    auto w = list(parameters, count), g = list(gradients, count);
    auto m = list(means, count), v = list(variances, count);
    match(w, g, m);
    match(w, g, v);
    // The kernels read t from a tensor per parameter, and do not count it up themselves.
    auto t = at::full({}, step, at::device(w[0].device()).dtype(at::kFloat));
    std::vector<at::Tensor> steps(count, t);
    at::_fused_adam_(w, g, m, v, /*max_exp_avg_sqs=*/{}, steps, lr, beta1, beta2, weight_decay, epsilon,
                     /*amsgrad=*/false, /*maximize=*/false);
  });
}

char *rematch_scale(const tensor *targets, size_t count, double factor) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto to = list(targets, count);
    if (!to.empty()) at::_foreach_mul_(to, factor);
  });
}

char *rematch_lerp(const tensor *targets, const tensor *sources, size_t count, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    auto to = list(targets, count), from = list(sources, count);
    at::_foreach_lerp_(to, from, weight);
  });
}

int rematch_has_gradient(tensor parameter) { return parameter->grad().defined() ? 1 : 0; }

char *rematch_reset_gradients(const tensor *parameters, size_t count) {
  return guarded([&] {
    for (size_t i = 0; i < count; i++) parameters[i]->mutable_grad().reset();
  });
}

tensor rematch_channels_last(tensor input, char **error) {
  tensor result = nullptr;
  *error = guarded([&] { result = new at::Tensor(input->contiguous(at::MemoryFormat::ChannelsLast)); });
  return result;
}

char *rematch_autocast_bf16(tensor like, int on) {
  return guarded([&] {
    const auto device = like->device().type();
    if (on) {
      at::autocast::set_autocast_dtype(device, at::kBFloat16);
      at::autocast::set_autocast_enabled(device, true);
      at::autocast::increment_nesting();
    } else {
      if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
      at::autocast::set_autocast_enabled(device, false);
    }
  });
}

char *rematch_leaky_relu(tensor x, double slope) {
  return guarded([&] { at::leaky_relu_(*x, slope); });
}

tensor rematch_read_back(tensor input, char **error) {
  tensor result = nullptr;
  *error = guarded([&] {
    auto options = input->options().device(at::kCPU).pinned_memory(!input->device().is_cpu());
    auto host = at::empty(input->sizes(), options);
    host.copy_(*input, /*non_blocking=*/true);
    result = new at::Tensor(host);
  });
  return result;
}

tensor rematch_upload(tensor input, tensor like, char **error) {
  tensor result = nullptr;
  *error = guarded([&] {
    if (like->device().is_cpu()) {
      result = new at::Tensor(*input);
      return;
    }
    // The caching allocator frees page-locked memory only once the copy that reads it is done.
    auto pinned = input->is_pinned() ? *input : input->pin_memory();
    result = new at::Tensor(pinned.to(like->device(), /*non_blocking=*/true));
  });
  return result;
}

char *rematch_event_record(tensor like, void **event) {
  *event = nullptr;
  return guarded([&] {
    const auto device = like->device();
    if (device.is_cpu()) return;
    auto mark = std::make_unique<c10::Event>(device.type());
    mark->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    *event = mark.release();
  });
}

char *rematch_event_wait(void *event) {
  return guarded([&] {
    std::unique_ptr<c10::Event> mark(static_cast<c10::Event *>(event));
    if (mark) mark->synchronize();
  });
}
