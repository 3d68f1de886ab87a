// Vectors of float32, shares of threads, and the product that all convolutions here come down to
#pragma once
#include <omp.h>

namespace {

constexpr int lanes = 8, panel = 16;
typedef float vector __attribute__((vector_size(4 * lanes), aligned(4)));
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

INLINE vector load(const float* from) { return *(const vector*)from; }
INLINE void store(float* to, vector v) { *(vector*)to = v; }

struct Range { long first, last; };
inline Range share(long count, long thread, long threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}

// Offset of a channel of a row in [channels / 16][rows][16]
INLINE long in_panels(long channel, long rows) { return channel / panel * rows * panel + channel % panel; }

// to [rows][16] (+)= sum over panels and k of from[panel][row * by_row + k * by_k] * weights[panel * depth + k][16]
template <int rows, bool add>
INLINE void multiply(long panels, long depth, const float* from, long by_panel, long by_row, long by_k,
                     const float* weights, float* to) {
  vector sum[rows][2];
  for (int r = 0; r < rows; r++)
    for (int h = 0; h < 2; h++) sum[r][h] = add ? load(to + r * panel + h * lanes) : vector{};
  for (long p = 0; p < panels; p++, from += by_panel)
    for (long k = 0; k < depth; k++, weights += panel) {
      vector left = load(weights), right = load(weights + lanes);
      for (int r = 0; r < rows; r++) {
        float value = from[r * by_row + k * by_k];
        sum[r][0] += value * left, sum[r][1] += value * right;
      }
    }
  for (int r = 0; r < rows; r++)
    for (int h = 0; h < 2; h++) store(to + r * panel + h * lanes, sum[r][h]);
}

}  // namespace
