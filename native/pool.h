// Threads that take the pieces of a record as they come.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace atento {

class Pool {
 public:
  using Piece = void (*)(void* context, int piece, int thread);

  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Keeps the workers awake between the phases of a program.
  void begin();
  void end();

  // Runs `count` pieces on all threads, the caller among them, and returns when all are done.
  void run(int count, Piece piece, void* context);

 private:
  void work(int thread);
  bool take(uint64_t job, int thread);

  std::vector<std::thread> workers_;
  // Job number in the upper half, next piece in the lower: a thread that comes late cannot take a piece of
  // another job, and what describes a job cannot change while a piece of it is out.
  std::atomic<uint64_t> next_{0};
  std::atomic<int> done_{0};
  std::atomic<int> count_{0};
  Piece piece_ = nullptr;
  void* context_ = nullptr;

  std::atomic<bool> awake_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
};

}  // namespace atento
