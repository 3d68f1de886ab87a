// The sums of batch norm over float32 maps, channels last: [rows][channels], a row for each pixel of each image.
//
// Maps are read once, block by block of rows and channels, all threads side by side; a block stays in a core's nearest
// cache. What the blocks give is joined in double precision in their order, so that no bit depends on the threads.
#include "vectors.h"

namespace {

constexpr long widest = 256, block_floats = 8192;  // channels and numbers of a block, at most
typedef double exact __attribute__((vector_size(8 * lanes)));

inline exact widened(const float* from) { return __builtin_convertvector(load(from), exact); }
inline void store(float* to, exact v) { store(to, __builtin_convertvector(v, vector)); }

// Means of rows and the sums of squares about them, `count` vectors of channels side by side
template <int count>
void moments_of(const float* maps, long rows, long channels, float* mean, float* squares) {
  vector sum[count] = {}, square[count] = {};
  for (long r = 0; r < rows; r++)
    for (int k = 0; k < count; k++) sum[k] += load(maps + r * channels + k * lanes);
  for (int k = 0; k < count; k++) sum[k] /= float(rows);
  for (long r = 0; r < rows; r++)
    for (int k = 0; k < count; k++) {
      vector apart = load(maps + r * channels + k * lanes) - sum[k];
      square[k] += apart * apart;
    }
  for (int k = 0; k < count; k++) store(mean + k * lanes, sum[k]), store(squares + k * lanes, square[k]);
}

// Sums of gradients, and of gradients times how far the maps are from their means
template <int count>
void sums_of(const float* maps, const float* gradient, const float* mean, long rows, long channels, float* plain,
             float* along) {
  vector sum[count] = {}, product[count] = {}, middle[count];
  for (int k = 0; k < count; k++) middle[k] = load(mean + k * lanes);
  for (long r = 0; r < rows; r++)
    for (int k = 0; k < count; k++) {
      vector one = load(gradient + r * channels + k * lanes);
      sum[k] += one, product[k] += one * (load(maps + r * channels + k * lanes) - middle[k]);
    }
  for (int k = 0; k < count; k++) store(plain + k * lanes, sum[k]), store(along + k * lanes, product[k]);
}

struct Blocks {
  long rows, channels, width, deep, down, across;
  Blocks(long rows, long channels) : rows(rows), channels(channels) {
    width = channels < widest ? channels : widest, deep = block_floats / width;
    down = (rows + deep - 1) / deep, across = (channels + width - 1) / width;
  }
  long rows_of(long block) const { return rows - block * deep < deep ? rows - block * deep : deep; }
};

// `what(first row, rows, first channel, vectors of channels, first of two rows of results)`, for all of the maps
template <class Four, class Two, class One>
void in_blocks(const Blocks& blocks, int threads, float* parts, Four four, Two two, One one) {
#pragma omp parallel for num_threads(threads)
  for (long b = 0; b < blocks.down * blocks.across; b++) {
    long d = b / blocks.across, c = b % blocks.across * blocks.width;
    long end = c + blocks.width < blocks.channels ? c + blocks.width : blocks.channels;
    long first = d * blocks.deep * blocks.channels, rows = blocks.rows_of(d);
    float* left = parts + 2 * d * blocks.channels;
    float* right = left + blocks.channels;
    for (; c + 4 * lanes <= end; c += 4 * lanes) four(first + c, rows, c, left + c, right + c);
    for (; c + 2 * lanes <= end; c += 2 * lanes) two(first + c, rows, c, left + c, right + c);
    for (; c < end; c += lanes) one(first + c, rows, c, left + c, right + c);
  }
}

}  // namespace

extern "C" {

// Floats of `parts` that the others need
long parts_of(long rows, long channels) { return 2 * Blocks(rows, channels).down * channels; }

// maps -> mean and biased variance [channels]
void moments(const float* maps, long rows, long channels, int threads, float* parts, float* mean, float* variance) {
  Blocks blocks(rows, channels);
  auto by = [&](auto of) {
    return [=](long at, long count, long, float* left, float* right) { of(maps + at, count, channels, left, right); };
  };
  in_blocks(blocks, threads, parts, by(moments_of<4>), by(moments_of<2>), by(moments_of<1>));
#pragma omp parallel for num_threads(threads)
  for (long c = 0; c < channels; c += lanes) {
    exact sum{}, square{};
    for (long d = 0; d < blocks.down; d++) sum += double(blocks.rows_of(d)) * widened(parts + 2 * d * channels + c);
    exact middle = sum / double(rows);
    for (long d = 0; d < blocks.down; d++) {
      exact apart = widened(parts + 2 * d * channels + c) - middle;
      square += widened(parts + (2 * d + 1) * channels + c) + double(blocks.rows_of(d)) * apart * apart;
    }
    store(mean + c, middle), store(variance + c, square / double(rows));
  }
}

// maps, gradient behind them, mean -> sums over all rows of the gradient, and of gradient * (maps - mean)
void gradient_sums(const float* maps, const float* gradient, const float* mean, long rows, long channels, int threads,
                   float* parts, float* plain, float* along) {
  Blocks blocks(rows, channels);
  auto by = [&](auto of) {
    return [=](long at, long count, long c, float* left, float* right) {
      of(maps + at, gradient + at, mean + c, count, channels, left, right);
    };
  };
  in_blocks(blocks, threads, parts, by(sums_of<4>), by(sums_of<2>), by(sums_of<1>));
#pragma omp parallel for num_threads(threads)
  for (long c = 0; c < channels; c += lanes) {
    exact sum{}, product{};
    for (long d = 0; d < blocks.down; d++) {
      sum += widened(parts + 2 * d * channels + c);
      product += widened(parts + (2 * d + 1) * channels + c);
    }
    store(plain + c, sum), store(along + c, product);
  }
}
}
