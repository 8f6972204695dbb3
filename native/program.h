// Memory of one training, and the flat programs that run in it.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel.h"
#include "pool.h"

namespace atento {

// Memory that is only touched when used: zeroed pages from the system.
class Block {
 public:
  Block() = default;
  explicit Block(int64_t floats);
  ~Block();
  Block(Block&& other) noexcept;
  Block& operator=(Block&& other) noexcept;

  float* data() const { return data_; }
  int64_t size() const { return floats_; }

 private:
  float* data_ = nullptr;
  int64_t floats_ = 0;
};

// Weights as a kernel has prepared them.
struct Kept {
  Block block;
  int64_t changes = -1;  // of the arena when they were prepared
};

// Variables, which stay, and scratch, which every program of the arena uses in turn.
class Arena {
 public:
  Arena(int64_t variables, int threads, const KernelTable& kernels);

  // Makes room for a program; nothing in scratch or workspace outlives a run.
  void reserve(int64_t scratch, int64_t shared, int64_t local);
  // Gives back all but the variables.
  void release();

  Block variables, scratch, shared;
  std::vector<Block> local;  // one a thread
  std::map<std::vector<double>, Kept> kept;  // by all that they were prepared from
  std::atomic<int64_t> changes{0};  // times that variables were, or may have been, written
  const KernelTable& kernels;
  Pool pool;
};

// Some floats of variables and scratch.
struct Span {
  int64_t offset, floats;
};

struct Record {
  const Kernel* kernel;
  Plan plan;
  std::vector<Span> spans;  // of the operands
  std::vector<double> params;
  Kept* kept = nullptr;  // its weights, if they are kept
  std::vector<Span> soon;  // what it fetches for later records
  double seconds = 0;  // spent since the last reset
};

// Records of [kernel, operands, (offset, length)…, params, params…], offsets counted in floats: variables first,
// scratch after them.
class Program {
 public:
  // Returns an empty string, or what is wrong with the code: nothing unchecked ever runs. `keeps`: weights stay as
  // kernels have prepared them until a variable changes.
  std::string load(std::shared_ptr<Arena> arena, const double* code, int64_t length, int64_t scratch, bool keeps);
  // Makes room in the arena: before a run, while nothing else runs there.
  void reserve();
  void run();

  const std::vector<Record>& records() const { return records_; }
  void reset_times();
  Arena& arena() const { return *arena_; }

 private:
  void plan_fetches();
  float* data(int64_t offset) const;

  std::shared_ptr<Arena> arena_;
  std::vector<Record> records_;
  int64_t scratch_ = 0, shared_ = 0, local_ = 0;
};

}  // namespace atento
