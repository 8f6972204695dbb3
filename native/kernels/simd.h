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
typedef uint32_t VB __attribute__((vector_size(4 * L)));  // bits of V

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

// a where it is larger or smaller, else b: also where one of them is NaN. As one instruction, which compilers do not find for
// vectors.
#if defined(__x86_64__) && ATENTO_LANES == 16
INLINE V larger(V a, V b) { return __builtin_ia32_maxps512_mask(a, b, V{}, -1, 4); }
INLINE V smaller(V a, V b) { return __builtin_ia32_minps512_mask(a, b, V{}, -1, 4); }
#elif defined(__x86_64__) && ATENTO_LANES == 8
INLINE V larger(V a, V b) { return __builtin_ia32_maxps256(a, b); }
INLINE V smaller(V a, V b) { return __builtin_ia32_minps256(a, b); }
#else
INLINE V larger(V a, V b) { return a > b ? a : b; }
INLINE V smaller(V a, V b) { return a < b ? a : b; }
#endif
INLINE float larger(float a, float b) { return a > b ? a : b; }
INLINE float smaller(float a, float b) { return a < b ? a : b; }

// The other half of the lanes, then the other quarter, …: f of all lanes in log L steps, in every lane.
template <class F>
INLINE V across(V v, F f) {
  VI lane;
  for (int i = 0; i < L; ++i) lane[i] = i;
#pragma GCC unroll 4
  for (int step = L / 2; step > 0; step /= 2) v = f(v, __builtin_shuffle(v, lane ^ step));
  return v;
}

// Every second quarter of a line of a and b, from the first or from the second on.
template <int odd, int... i>
INLINE V alternate_quads(V a, V b, std::integer_sequence<int, i...>) {
  return __builtin_shuffle(a, b, VI{((i / 4 * 2 + odd) * 4 + i % 4)...});
}

// `step` lanes of a, then as many of b, in each four lanes; from their first or from their second half.
template <int step, int half, int... i>
INLINE V interleave(V a, V b, std::integer_sequence<int, i...>) {
  return __builtin_shuffle(a, b, VI{(i / 4 * 4 + 2 * half + (step == 1 ? i % 4 / 2 : i % 2) + (i / step % 2 ? L : 0))...});
}

// First each four rows by lanes of four, which processors exchange fast, then those fours.
INLINE void transpose(V (&rows)[L]) {
  constexpr std::make_integer_sequence<int, L> lanes;
  V fours[4][L / 4];
#pragma GCC unroll 4
  for (int g = 0; g < L / 4; ++g) {
    const V *r = rows + 4 * g;
    const V a = interleave<1, 0>(r[0], r[1], lanes), b = interleave<1, 1>(r[0], r[1], lanes);
    const V c = interleave<1, 0>(r[2], r[3], lanes), d = interleave<1, 1>(r[2], r[3], lanes);
    fours[0][g] = interleave<2, 0>(a, c, lanes), fours[1][g] = interleave<2, 1>(a, c, lanes);
    fours[2][g] = interleave<2, 0>(b, d, lanes), fours[3][g] = interleave<2, 1>(b, d, lanes);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const V* f = fours[j];
    if constexpr (L == 4) rows[j] = f[0];
    if constexpr (L == 8) rows[j] = alternate_quads<0>(f[0], f[1], lanes), rows[4 + j] = alternate_quads<1>(f[0], f[1], lanes);
    if constexpr (L == 16) {
      const V a = alternate_quads<0>(f[0], f[1], lanes), b = alternate_quads<0>(f[2], f[3], lanes);
      const V c = alternate_quads<1>(f[0], f[1], lanes), d = alternate_quads<1>(f[2], f[3], lanes);
      rows[j] = alternate_quads<0>(a, b, lanes), rows[8 + j] = alternate_quads<1>(a, b, lanes);
      rows[4 + j] = alternate_quads<0>(c, d, lanes), rows[12 + j] = alternate_quads<1>(c, d, lanes);
    }
  }
}

// eˣ = 2ⁿ·eʳ, |r| ≤ ½ ln 2, to about one unit in the last place, by operations that loops over vectors keep: eʳ by its
// series to r⁷, where 0.35⁸/8! is below half a unit. Held to [−87, 88]; NaN stays.
template <class T, class Bits>
INLINE T exp_by(T x) {
  const T z = smaller(T{} + 88.0f, larger(T{} - 87.0f, x));
  const T shifted = z * 1.44269504f + 12582912.0f;  // 1.5·2²³: n stands in the last bits
  const T n = shifted - 12582912.0f;
  const T r = (z - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts, the first exact in n times it
  const T tail = ((1.0f / 5040 * r + 1.0f / 720) * r + 1.0f / 120) * r + 1.0f / 24;
  T e = (((tail * r + 1.0f / 6) * r + 0.5f) * r + 1) * r + 1;
  Bits power, bits;
  __builtin_memcpy(&power, &shifted, sizeof power);
  __builtin_memcpy(&bits, &e, sizeof bits);
  bits += power << 23;
  __builtin_memcpy(&e, &bits, sizeof bits);
  return x == x ? e : x;
}

INLINE float exp_of(float x) { return exp_by<float, uint32_t>(x); }
INLINE float sigmoid_of(float x) { return 1 / (1 + exp_of(-x)); }
INLINE V sigmoid_of(V x) { return 1 / (1 + exp_by<V, VB>(-x)); }

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

// So many floats or a little more, an odd number of lines: what lies that far apart, and is met together, does not fight for
// one place of the caches.
INLINE int64_t odd_lines(int64_t floats) { return (ceil_div(floats, kLine) | 1) * kLine; }

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
