// What tch does not bind: fused and foreach updates, gradients set to none, channels-last, autocast
// with a number type, events, the allocator's thresholds.
//
// A function that can fail returns null, or a text for the caller to hand to rematch_free_text.
// Tensors come as pointers to at::Tensor, which is what tch's C_tensor is.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace at {
class Tensor;
}

extern "C" {
typedef at::Tensor *tensor;

void rematch_free_text(char *text);

// Version of libtorch, "2.11.0"; not to be freed.
const char *rematch_torch_version();

// Keeps freed memory instead of giving it back to the system at every step.
void rematch_tune_malloc();

// The part of a GPU's memory that this process may take. Before CUDA is loaded.
char *rematch_limit_memory(double part);

// Whether a GPU may cut the numbers that it multiplies to TF32.
void rematch_allow_tf32(int on);

// Whether operations must give the same bits each time.
void rematch_set_deterministic(int on);

// Every parameter needs a gradient; buffers are the momenta, zero before the first step.
char *rematch_fused_sgd(const tensor *parameters, const tensor *gradients, const tensor *momenta,
                        size_t count, double lr, double momentum, double weight_decay, int nesterov);

// Adam in libtorch's form: epsilon is added to sqrt(v / (1 - beta2^step)); weight decay goes into the gradient.
char *rematch_fused_adam(const tensor *parameters, const tensor *gradients, const tensor *means,
                         const tensor *variances, size_t count, double lr, double beta1, double beta2,
                         double epsilon, double weight_decay, double step);

// targets *= factor
char *rematch_scale(const tensor *targets, size_t count, double factor);

// targets += weight (sources - targets)
char *rematch_lerp(const tensor *targets, const tensor *sources, size_t count, double weight);

// Whether a parameter has a gradient.
int rematch_has_gradient(tensor parameter);

// Forgets gradients, so that the next backward writes instead of adding.
char *rematch_reset_gradients(const tensor *parameters, size_t count);

// A tensor with the same values whose memory holds channels last; null and a text on error.
tensor rematch_channels_last(tensor input, char **error);

// Autocast on the device of `like`; on = 0 ends it and clears the cache of cast weights.
char *rematch_autocast_bf16(tensor like, int on);

// max(x, slope x), in place.
char *rematch_leaky_relu(tensor x, double slope);

// Copies to page-locked memory on a GPU, without waiting for the copy; a plain copy on the CPU.
tensor rematch_read_back(tensor input, char **error);
// Copies from page-locked memory to the device of `like`, without waiting; a shared tensor on the CPU.
tensor rematch_upload(tensor input, tensor like, char **error);

// Marks a point in the work queue of the device of `like`; null on the CPU.
char *rematch_event_record(tensor like, void **event);
// Waits for that point and frees the event.
char *rematch_event_wait(void *event);
}
