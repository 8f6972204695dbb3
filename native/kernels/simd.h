// Vectors of one instruction set. Included once for each set, in a namespace of its own: nothing here may be
// shared between the translation units, or the linker could keep the copy a processor cannot run.
#pragma once
#include <cstdint>
#include <type_traits>
#include <utility>

#include "../kernel.h"

#define INLINE static inline __attribute__((always_inline))

namespace atento {
namespace ATENTO_ISA {

constexpr int L = ATENTO_LANES;           // floats in a vector
constexpr int NR = 2 * L;                 // channels of a register tile
#if ATENTO_LANES == 16
constexpr int MR = 12;                    // pixels of a register tile: 24 of 32 registers accumulate
constexpr int GR = 8;                     // rows of a weight gradient tile: channel counts are multiples of 8
#else
constexpr int MR = 6;                     // 12 of 16 registers accumulate
constexpr int GR = 6;
#endif

typedef float V __attribute__((vector_size(4 * L)));
typedef float VU __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef int VI __attribute__((vector_size(4 * L)));

INLINE V load(const float* p) { return *reinterpret_cast<const VU*>(p); }
INLINE void store(float* p, V v) { *reinterpret_cast<VU*>(p) = v; }

// Stores that go past the caches, for what is too large to be found there again: of whole lines only, or they cost
// more than they spare. Who made some calls `fence_streams` before others may read.
#if defined(__x86_64__) && ATENTO_LANES == 16
constexpr bool kStreams = true;
INLINE void stream(float* p, V v) { __builtin_ia32_movntps512(p, v); }
INLINE void fence_streams() { __builtin_ia32_sfence(); }
#else
constexpr bool kStreams = false;
INLINE void stream(float* p, V v) { store(p, v); }
INLINE void fence_streams() {}
#endif

INLINE V splat(float s) { return s - V{}; }

// The other half of the lanes, then the other quarter, …: f of all lanes in log L steps, in every lane.
template <class F>
INLINE V across(V v, F f) {
  VI lane;
  for (int i = 0; i < L; ++i) lane[i] = i;
#pragma GCC unroll 4
  for (int step = L / 2; step > 0; step /= 2) v = f(v, __builtin_shuffle(v, lane ^ step));
  return v;
}

// Blocks of `step` rows and columns change places across the diagonal of blocks twice as large.
template <int step, int... i>
INLINE void swap_blocks(V (&rows)[L], std::integer_sequence<int, i...>) {
  const VI low = {(i & step ? L + i - step : i)...}, high = {(i & step ? L + i : i + step)...};
#pragma GCC unroll 16
  for (int r = 0; r < L; ++r) {
    if (r & step) continue;
    const V a = rows[r], b = rows[r + step];
    rows[r] = __builtin_shuffle(a, b, low);
    rows[r + step] = __builtin_shuffle(a, b, high);
  }
}

template <int step = 1>
INLINE void transpose(V (&rows)[L]) {
  swap_blocks<step>(rows, std::make_integer_sequence<int, L>{});
  if constexpr (2 * step < L) transpose<2 * step>(rows);
}

// eˣ = 2ⁿ·eʳ, |r| ≤ ½ ln 2, to about one unit in the last place, by operations that loops over vectors keep: eʳ by its
// series to r⁷, where 0.35⁸/8! is below half a unit. Held to [−87, 88]; NaN stays.
INLINE float exp_of(float x) {
  const float z = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
  const float shifted = z * 1.44269504f + 12582912.0f;  // 1.5·2²³: n stands in the last bits
  const float n = shifted - 12582912.0f;
  const float r = (z - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first exact in n times it
  const float tail = ((1.0f / 5040 * r + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24;
  float e = (((tail * r + 1.0f / 6) * r + 0.5f) * r + 1) * r + 1;
  uint32_t power, bits;
  __builtin_memcpy(&power, &shifted, 4);
  __builtin_memcpy(&bits, &e, 4);
  bits += power << 23;
  __builtin_memcpy(&e, &bits, 4);
  return x == x ? e : x;
}

INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
INLINE int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Width of the panel of `panel` channels that begins at channel `c`: the last has as many vectors as it needs.
INLINE int64_t panel_width(int64_t channels, int64_t c, int64_t panel) { return min(panel, round_up(channels - c, L)); }

INLINE void copy(float* __restrict to, const float* __restrict from, int64_t n) { __builtin_memcpy(to, from, 4 * n); }
INLINE void clear(float* to, int64_t n) { __builtin_memset(to, 0, 4 * n); }

// Piece `piece` of `pieces` equal shares of [0, n).
struct Range { int64_t begin, end; };
INLINE Range share(int64_t n, int pieces, int piece) { return {n * piece / pieces, n * (piece + 1) / pieces}; }

constexpr int64_t kLine = 16;  // floats of a cache line

// Memory that is fetched a few lines at a time between products: `rows` of `length` floats, `pitch` apart.
struct Lines {
  const float* base;
  int64_t rows, length, pitch;
  int64_t row, column;  // of the next line
  int64_t count() const { return rows * ceil_div(length, kLine); }
};

// Fetches up to so many lines; returns how many there were not.
INLINE int64_t advance(Lines& s, int64_t lines) {
  for (; lines > 0 && s.row < s.rows; --lines) {
    __builtin_prefetch(s.base + s.row * s.pitch + s.column, 0, 2);
    s.column += kLine;
    if (s.column >= s.length) s.column = 0, ++s.row;
  }
  return lines;
}

// What later steps read and write, fetched in equal parts before the steps that come first.
struct Later {
  Lines lines[kMaxOperands + kMostSoon];
  int64_t count = 0, each = 0, at = 0;  // lines of one part; what is fetched now

  void add(const Lines& more) { lines[count++] = more; }
  // A part of what later records need.
  void add(const Call& call, int parts, int part) {
    for (int i = 0; i < call.stretches; ++i) {
      const Range own = share(call.soon[i].floats, parts, part);
      add({call.soon[i].at + own.begin, 1, own.end - own.begin, 0, 0, 0});
    }
  }
  void divide(int64_t steps) {
    int64_t total = 0;
    for (int64_t i = 0; i < count; ++i) total += lines[i].count();
    each = ceil_div(total, steps);
  }
  void fetch() {
    for (int64_t left = each; at < count && (left = advance(lines[at], left)) > 0;) ++at;
  }
};

}  // namespace ATENTO_ISA
}  // namespace atento
