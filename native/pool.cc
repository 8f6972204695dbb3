#include "pool.h"

#include <utility>

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

}  // namespace

#if defined(__x86_64__)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() {}
#endif

Pool::Pool(int threads) : left_(new Left[threads]) {
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

bool Pool::take(int thread) {
  const int all = threads();
  for (int i = 0; i < all; ++i) {
    std::atomic<uint64_t>& left = left_[(thread + i) % all].pieces;
    uint64_t seen = left.load(std::memory_order_acquire);
    for (;;) {
      const uint64_t first = seen >> 32, end = seen & 0xffffffff;
      if (first >= end) break;
      const bool own = i == 0;
      const uint64_t rest = own ? (first + 1) << 32 | end : first << 32 | (end - 1);
      if (left.compare_exchange_weak(seen, rest, std::memory_order_acq_rel)) {
        const bool begins = std::exchange(left_[thread].met, number_) != number_;
        piece_(context_, static_cast<int>(own ? first : end - 1), thread, begins);
        done_.fetch_add(1, std::memory_order_release);
        return true;
      }
    }
  }
  return false;
}

void Pool::run(int count, Piece piece, void* context) {
  if (workers_.empty() || count <= 1) {
    for (int i = 0; i < count; ++i) piece(context, i, 0, i == 0);
    return;
  }
  ++number_;
  piece_ = piece;
  context_ = context;
  done_.store(0, std::memory_order_relaxed);
  for (uint64_t i = 0, all = threads(); i < all; ++i)
    left_[i].pieces.store(count * i / all << 32 | count * (i + 1) / all, std::memory_order_release);
  job_.fetch_add(1, std::memory_order_release);
  while (take(0)) {
  }
  for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) pause(spins);
}

void Pool::work(int thread) {
  FlushDenormals flush;
  uint64_t last = 0;
  for (int spins = 0; !stop_.load(std::memory_order_relaxed); ++spins) {
    const uint64_t job = job_.load(std::memory_order_acquire);
    if (job != last) {
      while (take(thread)) {
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
