#include "pool.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace atento {

namespace {

constexpr int kSpins = 2000;  // before a waiting thread offers its processor to others

void pause(int spins) {
  if (spins > kSpins) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__)
  _mm_pause();
#endif
}

// Numbers too small to matter must not cost a hundred times more: treat denormals as zero on this thread.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(saved_); }

 private:
  unsigned saved_;
#else
  FlushDenormals() {}
#endif
};

}  // namespace

Pool::Pool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::begin() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    awake_ = true;
  }
  wake_.notify_all();
}

void Pool::end() { awake_ = false; }

bool Pool::take(uint64_t job, int thread) {
  uint64_t seen = next_.load(std::memory_order_acquire);
  for (;;) {
    if (seen >> 32 != job) return false;
    const int piece = static_cast<int>(seen & 0xffffffff);
    if (piece >= count_.load(std::memory_order_relaxed)) return false;
    if (next_.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) {
      piece_(context_, piece, thread);
      done_.fetch_add(1, std::memory_order_release);
      return true;
    }
  }
}

void Pool::run(int count, Piece piece, void* context) {
  FlushDenormals flush;
  if (workers_.empty() || count <= 1) {
    for (int i = 0; i < count; ++i) piece(context, i, 0);
    return;
  }
  const uint64_t job = (next_.load(std::memory_order_relaxed) >> 32) + 1;
  // closes the last job to latecomers before what describes a job changes
  next_.store(job << 32 | 0x7fffffff, std::memory_order_seq_cst);
  piece_ = piece;
  context_ = context;
  count_.store(count, std::memory_order_relaxed);
  done_.store(0, std::memory_order_relaxed);
  next_.store((job + 1) << 32, std::memory_order_release);
  while (take(job + 1, 0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) pause(spins);
}

void Pool::work(int thread) {
  FlushDenormals flush;
  uint64_t last = 0;
  for (int spins = 0; !stop_.load(std::memory_order_relaxed); ++spins) {
    const uint64_t job = next_.load(std::memory_order_acquire) >> 32;
    if (job != last) {
      while (take(job, thread)) {
      }
      last = job;
      spins = 0;
    } else if (!awake_.load(std::memory_order_relaxed)) {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return awake_ || stop_; });
    } else {
      pause(spins);
    }
  }
}

}  // namespace atento
