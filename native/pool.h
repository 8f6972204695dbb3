// Threads that share the pieces of a record: each begins with a run of its own, the same part of every record, so that
// it meets again what it has in its caches, and helps the others when that is done.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace atento {

// Numbers too small to matter must not cost a hundred times more: on its thread denormals are zero while it lives.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();

 private:
  unsigned saved_;
};

class Pool {
 public:
  // `first`: of the thread's pieces in this job.
  using Piece = void (*)(void* context, int piece, int thread, bool first);

  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Keeps the workers awake between the phases of a program.
  void begin();
  void end();

  // Runs `count` pieces on all threads, the caller among them, which flushes denormals itself, and returns when all are done.
  void run(int count, Piece piece, void* context);

 private:
  void work(int thread);
  bool take(int thread);

  std::vector<std::thread> workers_;
  // Pieces nobody has taken yet: the first in the upper half, the end in the lower. Its thread takes the first, others
  // the last. Whoever takes one takes it of the present job, and what describes a job cannot change while a piece is out.
  struct alignas(64) Left {
    std::atomic<uint64_t> pieces{0};
    int64_t met = 0;  // the last job its thread took a piece of
  };
  std::unique_ptr<Left[]> left_;
  std::atomic<uint64_t> job_{0};
  std::atomic<int> done_{0};
  int64_t number_ = 0;  // of the job as pieces of it tell, which may be taken before job_ is seen to change
  Piece piece_ = nullptr;
  void* context_ = nullptr;

  std::atomic<bool> awake_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace atento
