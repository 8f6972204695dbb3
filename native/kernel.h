// What a kernel is to the program runner.
#pragma once
#include <cstdint>

namespace atento {

constexpr int kMaxOperands = 24;
constexpr int kMaxPhases = 4;
constexpr int kMostSoon = 32;  // stretches of memory that one record fetches for later ones

// Some floats one after the other.
struct Stretch {
  const float* at;
  int64_t floats;
};

// How a kernel will go about one record, decided from its parameters alone: never from the number of threads,
// so that results do not depend on it.
struct Plan {
  int operands = 0;                    // of a kernel whose table entry leaves it open
  int64_t lengths[kMaxOperands] = {};  // floats each operand must have at least
  int64_t shared = 0;                  // floats of workspace that all pieces of the record see
  int64_t local = 0;                   // floats of workspace of each thread
  int phases = 1;                      // one after the other
  int pieces[kMaxPhases] = {1, 1, 1, 1};  // of each phase; in any order, on any thread
  // Above 0: shared workspace holds nothing but weights, which the first phase prepares from operand 1. Equal
  // parameters [1, prepares) prepare them alike.
  int prepares = 0;
  // The phase that multiplies, long enough to fetch meanwhile what later records need: its pieces see to `Call::soon`.
  // Below 0: none.
  int fetches = -1;
};

// One record at run time. Operands are the op's inputs, then its output, then what it computes along with it.
struct Call {
  float* const* operands;
  const double* params;
  float* shared;
  float* local;
  bool first;               // of the thread's pieces in this phase: the others find in `local` what it left there
  Stretch soon[kMostSoon];  // what this piece fetches into the caches for later records
  int stretches;
};

constexpr int kAsPlanned = -1;

struct Kernel {
  const char* name;
  int operands;  // kAsPlanned: the plan says, from the parameters
  int params;    // kAsPlanned: the first parameter is their number
  bool (*plan)(const double* params, Plan& plan);  // false: parameters that make no sense
  void (*run)(const Call& call, int phase, int piece);
};

struct KernelTable {
  const char* isa;
  const Kernel* kernels;
  int count;
  double (*peak)(int64_t iterations);  // runs multiply-adds, returns their number
};

const KernelTable& kernels_baseline();
const KernelTable& kernels_avx2();
const KernelTable& kernels_avx512();

}  // namespace atento
