// A group of processes on one machine that train together: sums of tensors over all of them, by c10d's
// Gloo on the CPU and by NCCL on CUDA, and autograd through such a sum.
#pragma once

#include "shim.h"

extern "C" {
typedef struct Group *group;

// Joins the group whose processes meet at the file `store`; waits for all `size` of them, two minutes at
// most. `like` says where the tensors will be.
char *rematch_group_join(const char *store, int rank, int size, tensor like, group *joined);
void rematch_group_leave(group left);

// Null, or why a sum could not be made. Every sum after that leaves its tensor as it is.
char *rematch_group_failure(group with);

// A new tensor: x, or the sum over the group of every process's x. Its gradient goes back to x times
// `factor`, summed over the group first where `sum_gradients` says so.
tensor rematch_group_sum(group with, tensor x, int sum_values, int sum_gradients, double factor, char **error);

// The mean over the group, in place, of all of these tensors at once.
char *rematch_group_average(group with, const tensor *tensors, size_t count);
}
