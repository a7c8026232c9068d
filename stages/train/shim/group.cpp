#include "group.h"

#include <dlfcn.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "guarded.h"

namespace {

// How long to wait for a process that does not come, and for one that is busy: with a checkpoint, or the
// disk. One that died is noticed at once, for its connections close.
constexpr std::chrono::minutes MEETING{2}, BUSY{60};

// NCCL's C interface, as much as a sum needs. Its library comes with libtorch's for CUDA; there need be none
// when this is compiled.
struct Nccl {
  struct Id {
    char bytes[128];
  };
  using Comm = void *;
  static constexpr int SUM = 0;

  int (*get_unique_id)(Id *);
  int (*init_rank)(Comm *, int size, Id, int rank);
  int (*all_reduce)(const void *, void *, size_t count, int type, int op, Comm, void *stream);
  int (*abort)(Comm);
  const char *(*error_string)(int);
  Comm comm = nullptr;

  Nccl() {
    void *library = dlopen("libnccl.so.2", RTLD_NOW | RTLD_GLOBAL);
    TORCH_CHECK(library, "NCCL cannot be loaded: ", dlerror());
    auto find = [&](auto &function, const char *name) {
      function = reinterpret_cast<std::decay_t<decltype(function)>>(dlsym(library, name));
      TORCH_CHECK(function, "NCCL has no ", name);
    };
    find(get_unique_id, "ncclGetUniqueId");
    find(init_rank, "ncclCommInitRank");
    find(all_reduce, "ncclAllReduce");
    find(abort, "ncclCommAbort");
    find(error_string, "ncclGetErrorString");
  }
  // Does not wait for processes that are gone.
  ~Nccl() {
    if (comm) abort(comm);
  }
  void check(int result) const { TORCH_CHECK(result == 0, "NCCL: ", error_string(result)); }

  static int type(at::ScalarType of) {
    switch (of) {
    case at::kByte: return 1;
    case at::kInt: return 2;
    case at::kLong: return 4;
    case at::kHalf: return 6;
    case at::kFloat: return 7;
    case at::kDouble: return 8;
    case at::kBFloat16: return 9;
    default: TORCH_CHECK(false, "NCCL sums no ", of);
    }
  }
};

} // namespace

struct Group {
  int size;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
  std::unique_ptr<Nccl> nccl;
  std::mutex mutex;
  std::string failure;

  Group(const char *path, int rank, int size, at::Device device) : size(size) {
    auto store = c10::make_intrusive<c10d::FileStore>(path, size);
    store->setTimeout(MEETING);
    auto options = c10d::ProcessGroupGloo::Options::create(MEETING);
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1"));
    gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store, rank, size, options);
    gloo->setTimeout(BUSY);
    if (device.is_cpu()) return;
    nccl = std::make_unique<Nccl>();
    auto id = at::zeros({sizeof(Nccl::Id)}, at::kByte);
    auto *bytes = static_cast<Nccl::Id *>(id.data_ptr());
    if (rank == 0) nccl->check(nccl->get_unique_id(bytes));
    sum_on_host(id);
    c10::DeviceGuard on(device);
    nccl->check(nccl->init_rank(&nccl->comm, size, *bytes, rank));
  }

  void sum_on_host(at::Tensor &x) {
    std::vector<at::Tensor> one{x};
    gloo->allreduce(one)->wait();
  }

  // In place; x is contiguous. An exception inside a backward pass could not be told from a defect, so a
  // failure is kept until somebody asks.
  void sum(at::Tensor &x) {
    std::lock_guard<std::mutex> lock(mutex);
    if (!failure.empty()) return;
    try {
      if (x.is_cpu()) return sum_on_host(x);
      TORCH_CHECK(nccl, "a group for the CPU was given a tensor on ", x.device());
      c10::DeviceGuard on(x.device());
      const auto stream = c10::impl::VirtualGuardImpl(x.device().type()).getStream(x.device());
      void *data = x.mutable_data_ptr();
      nccl->check(nccl->all_reduce(data, data, x.numel(), Nccl::type(x.scalar_type()), Nccl::SUM, nccl->comm,
                                   stream.native_handle()));
    } catch (const c10::Error &error) {
      failure = error.what_without_backtrace();
    } catch (const std::exception &error) {
      failure = error.what();
    }
  }

  at::Tensor sum_of(const at::Tensor &x) {
    auto y = x.clone(at::MemoryFormat::Contiguous);
    sum(y);
    return y;
  }
};

namespace {

struct Sum : torch::autograd::Function<Sum> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &x, int64_t group,
                            bool sum_values, bool sum_gradients, double factor) {
    context->saved_data["group"] = group;
    context->saved_data["sum"] = sum_gradients;
    context->saved_data["factor"] = factor;
    return sum_values ? reinterpret_cast<Group *>(group)->sum_of(x) : x.view_as(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context,
                                                 torch::autograd::variable_list gradients) {
    auto g = gradients[0];
    auto *group = reinterpret_cast<Group *>(context->saved_data["group"].toInt());
    if (context->saved_data["sum"].toBool()) g = group->sum_of(g);
    return {g * context->saved_data["factor"].toDouble(), {}, {}, {}, {}};
  }
};

} // namespace

char *rematch_group_join(const char *store, int rank, int size, tensor like, group *joined) {
  *joined = nullptr;
  return guarded([&] { *joined = new Group(store, rank, size, like->device()); });
}

void rematch_group_leave(group left) {
  char *problem = guarded([&] { delete left; });
  free(problem);
}

char *rematch_group_failure(group with) {
  std::lock_guard<std::mutex> lock(with->mutex);
  return with->failure.empty() ? nullptr : strdup(with->failure.c_str());
}

tensor rematch_group_sum(group with, tensor x, int sum_values, int sum_gradients, double factor, char **error) {
  tensor result = nullptr;
  *error = guarded([&] {
    const auto handle = static_cast<int64_t>(reinterpret_cast<intptr_t>(with));
    result = new at::Tensor(Sum::apply(*x, handle, sum_values != 0, sum_gradients != 0, factor));
  });
  return result;
}

char *rematch_group_average(group with, const tensor *tensors, size_t count) {
  return guarded([&] {
    if (count == 0) return;
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> parts;
    for (size_t i = 0; i < count; i++) parts.push_back(tensors[i]->reshape(-1));
    // One sum over all numbers: a sum of its own for each tensor takes ten times as long.
    auto all = at::cat(parts);
    with->sum(all);
    all.div_(with->size);
    int64_t from = 0;
    for (size_t i = 0; i < count; i++) {
      tensors[i]->copy_(all.narrow(0, from, tensors[i]->numel()).view(tensors[i]->sizes()));
      from += tensors[i]->numel();
    }
  });
}
