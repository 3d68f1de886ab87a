// 3x3 convolutions at stride 1 of float32 maps, channels last, by Winograd's F(4x4, 3x3): the three passes of training.
//
// A tile of 4x4 outputs is A^T [(G w G^T) * (B^T x B)] A, where * multiplies 36 places one by one: 36 products where
// the sums have 144 (Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks", section 4.3). With
// many channels each place is a matrix product. The gradient of the weights is the same the other way round:
// G^T [sum over tiles of (B^T x B) * (A dy A^T)] G.
//
// All that lies between is kept as [36][channels / 16][rows][16]. Tiles go through the three steps in blocks: where the
// weights fit a core's cache each thread takes blocks of its own, where they do not all threads share a larger one.
#include <utility>

#include "vectors.h"

namespace {

constexpr int places = 36;
// Tiles of a thread's own block: convolving, its sums stay in a core's nearest cache; no block has more than the other
constexpr long convolved_tiles = 6, gradient_tiles = 12;
constexpr long ahead = 4;  // tiles between the one that is read and the one that is asked for
constexpr long own_weights = 128 * 128, shared_floats = 1 << 16;

INLINE void bt(const vector* d, vector* t) {  // B^T d
  vector a = d[4] - 4.f * d[2], b = d[3] - 4.f * d[1];
  vector c = d[4] - d[2], e = 2.f * (d[3] - d[1]);
  t[0] = 4.f * d[0] - 5.f * d[2] + d[4];
  t[1] = a + b, t[2] = a - b, t[3] = c + e, t[4] = c - e;
  t[5] = 4.f * d[1] - 5.f * d[3] + d[5];
}
INLINE void at(const vector* m, vector* y) {  // A^T m
  vector a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
  y[0] = m[0] + a + c, y[1] = b + 2.f * d, y[2] = a + 4.f * c, y[3] = b + 8.f * d + m[5];
}
INLINE void a(const vector* y, vector* m) {  // A y
  vector a = y[0] + y[2], b = y[1] + y[3], c = y[0] + 4.f * y[2], d = 2.f * y[1] + 8.f * y[3];
  m[0] = y[0], m[1] = a + b, m[2] = a - b, m[3] = c + d, m[4] = c - d, m[5] = y[3];
}
INLINE void g(const vector* w, vector* u) {  // G w
  vector a = (w[0] + w[2]) * (1.f / 6), b = w[1] * (1.f / 6);
  vector c = w[0] * (1.f / 24) + w[2] * (1.f / 6), d = w[1] * (1.f / 12);
  u[0] = w[0] * .25f, u[1] = -a - b, u[2] = b - a, u[3] = c + d, u[4] = c - d, u[5] = w[2];
}
INLINE void gt(const vector* m, vector* w) {  // G^T m
  vector a = (m[1] + m[2]) * (1.f / 6), b = (m[2] - m[1]) * (1.f / 6);
  vector c = m[3] + m[4], d = m[3] - m[4];
  w[0] = m[0] * .25f - a + c * (1.f / 24), w[1] = b + d * (1.f / 12), w[2] = c * (1.f / 6) - a + m[5];
}

template <class Do, int... i>
INLINE void each(std::integer_sequence<int, i...>, Do what) { (what(i), ...); }
// `what(0)` ... `what(count - 1)`, written out: what they index stays in registers
template <int count, class Do>
INLINE void each(Do what) { each(std::make_integer_sequence<int, count>{}, what); }

// The same along both axes: `read(i, j)` of in x in -> `write(i, j, vector)` of out x out. One row or column at a time
// has few addresses; all at once would have more than registers are.
template <int in, int out, void (*along)(const vector*, vector*), class Read, class Write>
INLINE void along_both(Read read, Write write) {
  vector half[in][out];
#pragma GCC unroll 1
  for (int i = 0; i < in; i++) {
    vector row[in], turned[out];
    each<in>([&](int j) INLINE_LAMBDA { row[j] = read(i, j); });
    along(row, turned);
    each<out>([&](int j) INLINE_LAMBDA { half[i][j] = turned[j]; });
  }
#pragma GCC unroll 1
  for (int j = 0; j < out; j++) {
    vector column[in], turned[out];
    each<in>([&](int i) INLINE_LAMBDA { column[i] = half[i][j]; });
    along(column, turned);
    each<out>([&](int i) INLINE_LAMBDA { write(i, j, turned[i]); });
  }
}

struct Maps {
  long images, height, width, channels;
  long down() const { return (height + 3) / 4; }
  long across() const { return (width + 3) / 4; }
  long tiles() const { return images * down() * across(); }
};

// Where a tile's patch begins; outside of the map it reads zeros and writes nothing.
struct Patch {
  const Maps& maps;
  long image, top, left;
  Patch(const Maps& maps, long tile, int border) : maps(maps) {
    left = tile % maps.across() * 4 - border, tile /= maps.across();
    top = tile % maps.down() * 4 - border, image = tile / maps.down();
  }
  bool inside(long y, long x) const { return y >= 0 && x >= 0 && y < maps.height && x < maps.width; }
  bool has(long y, long x) const { return inside(top + y, left + x); }
  bool whole(long size) const { return has(0, 0) && has(size - 1, size - 1); }
  long corner() const { return ((image * maps.height + top) * maps.width + left) * maps.channels; }
};

// Asks for a tile's 16 pixels before they are needed: their rows lie too far apart for a processor to foresee
template <bool written>
INLINE void ask_for(const float* maps, const Maps& shape, long tile) {
  if (tile >= shape.tiles()) return;
  const float* from = maps + Patch(shape, tile, 0).corner();
  for (long y = 0; y < 4; y++, from += shape.width * shape.channels)
    for (long k = 0; k < 4 * shape.channels; k += panel) __builtin_prefetch(from + k, written);
}

template <int size, bool border, void (*along)(const vector*, vector*)>
void to_places(const float* maps, const Maps& shape, long first, Range tiles, long rows, float* to) {
  for (long t = tiles.first; t < tiles.last; t++) {
    ask_for<false>(maps, shape, first + t + ahead);
    Patch patch(shape, first + t, border);
    bool whole = patch.whole(size);
    for (long c = 0; c < shape.channels; c += lanes) {
      const float* from = maps + patch.corner() + c;
      float* out = to + in_panels(c, rows) + t * panel;
      auto pixel = [&](long y, long x) INLINE_LAMBDA { return load(from + (y * shape.width + x) * shape.channels); };
      auto pixel_or_zero = [&](long y, long x) INLINE_LAMBDA { return patch.has(y, x) ? pixel(y, x) : vector{}; };
      auto write = [&](int i, int j, vector v) INLINE_LAMBDA { store(out + (i * 6 + j) * rows * shape.channels, v); };
      if (whole) along_both<size, 6, along>(pixel, write);
      else along_both<size, 6, along>(pixel_or_zero, write);
    }
  }
}

void from_places(const float* from, const Maps& shape, long first, Range tiles, long rows, float* maps) {
  for (long t = tiles.first; t < tiles.last; t++) {
    ask_for<true>(maps, shape, first + t + ahead);
    Patch patch(shape, first + t, 0);
    bool whole = patch.whole(4);
    for (long c = 0; c < shape.channels; c += lanes) {
      const float* in = from + in_panels(c, rows) + t * panel;
      float* to = maps + patch.corner() + c;
      auto sum = [&](int i, int j) INLINE_LAMBDA { return load(in + (i * 6 + j) * rows * shape.channels); };
      auto write = [&](long y, long x, vector v) INLINE_LAMBDA {
        if (whole || patch.has(y, x)) store(to + (y * shape.width + x) * shape.channels, v);
      };
      along_both<6, 4, at>(sum, write);
    }
  }
}

struct Plan {  // how tiles go in blocks, and how threads share them
  bool together;
  long rows, blocks;
  Plan(const Maps& in, const Maps& out, long own_tiles) {
    long tiles = in.tiles(), most = in.channels > out.channels ? in.channels : out.channels;
    together = in.channels * out.channels > own_weights;
    rows = together ? shared_floats / most / gradient_tiles * gradient_tiles : own_tiles;
    if (rows < own_tiles) rows = own_tiles;
    blocks = (tiles + rows - 1) / rows;
  }
  Range of_blocks(int thread, int threads) const {
    return together ? Range{0, blocks} : share(blocks, thread, threads);
  }
  Range of(long count, int thread, int threads) const {
    return together ? share(count, thread, threads) : Range{0, count};
  }
  long in_block(long block, long tiles) const { return tiles - block * rows < rows ? tiles - block * rows : rows; }
  long buffers(int threads) const { return together ? 1 : threads; }
};

void wait_if(bool together) {
  if (together) {
#pragma omp barrier
  }
}

}  // namespace

extern "C" {

// Floats of `scratch` that `convolve` and `weight_gradient` need
long scratch_of(long images, long height, long width, long in, long out, int threads) {
  Maps from{images, height, width, in}, to{images, height, width, out};
  Plan plan(from, to, gradient_tiles);
  return plan.buffers(threads) * places * (plan.rows * (in + out) + in * out);
}

// weights [out][3][3][in] -> [36][out / 16][in][16]; `turned`: those of the convolution that takes gradients back
void weights_to(const float* weights, long in, long out, int turned, int threads, float* to) {
#pragma omp parallel for num_threads(threads)
  for (long o = 0; o < out; o += lanes)
    for (long i = 0; i < in; i++) {
      auto read = [&](int y, int x) {
        int k = y * 3 + x;
        if (turned) return load(weights + (i * 9 + 8 - k) * out + o);  // weights [in][3][3][out]
        vector w;
        for (int l = 0; l < lanes; l++) w[l] = weights[((o + l) * 9 + k) * in + i];
        return w;
      };
      float* place = to + in_panels(o, in) + i * panel;
      auto write = [&](int y, int x, vector v) { store(place + (y * 6 + x) * in * out, v); };
      along_both<3, 6, g>(read, write);
    }
}

// maps [images][height][width][in] -> [images][height][width][out]
void convolve(const float* maps, const float* weights, float* to, long images, long height, long width, long in,
              long out, int threads, float* scratch) {
  Maps from{images, height, width, in}, made{images, height, width, out};
  Plan plan(from, made, convolved_tiles);
#pragma omp parallel num_threads(threads)
  {
    int thread = omp_get_thread_num(), team = omp_get_num_threads();  // fewer than asked for, it may be
    float* turned = scratch + (plan.together ? 0 : thread) * places * plan.rows * (in + out);
    float* sums = turned + places * plan.rows * in;
    auto block = [&](long b) {
      long rows = plan.rows, first = b * rows, count = plan.in_block(b, from.tiles());
      Range tiles = plan.of(count, thread, team), parts = plan.of(places * (out / panel), thread, team);
      to_places<6, true, bt>(maps, from, first, tiles, rows, turned);
      wait_if(plan.together);
      for (long part = parts.first; part < parts.last; part++) {
        const float* left = turned + part / (out / panel) * rows * in;
        const float* right = weights + part * in * panel;
        float* sum = sums + part * rows * panel;
        long r = 0, depth = in / panel;
        for (; r + 6 <= count; r += 6)
          multiply<6, false>(depth, panel, left + r * panel, rows * panel, panel, 1, right, sum + r * panel);
        for (; r < count; r++)
          multiply<1, false>(depth, panel, left + r * panel, rows * panel, panel, 1, right, sum + r * panel);
      }
      wait_if(plan.together);
      from_places(sums, made, first, tiles, rows, to);
    };
    if (plan.together) {
      for (long b = 0; b < plan.blocks; b++) block(b);
    } else {  // whoever is first takes the next: a core may be slower than another
      long next = plan.blocks / (16 * team) + 1;
#pragma omp for schedule(dynamic, next)
      for (long b = 0; b < plan.blocks; b++) block(b);
    }
  }
}

// maps, gradient of what was made of them -> gradient of weights [out][3][3][in]
void weight_gradient(const float* maps, const float* gradient, float* to, long images, long height, long width, long in,
                     long out, int threads, float* scratch) {
  Maps from{images, height, width, in}, made{images, height, width, out};
  Plan plan(from, made, gradient_tiles);
  long size = places * in * out;
  float* all = scratch + plan.buffers(threads) * places * plan.rows * (in + out);
#pragma omp parallel num_threads(threads)
  {
    int thread = omp_get_thread_num(), team = omp_get_num_threads();  // fewer than asked for, it may be
    long mine = plan.together ? 0 : thread;
    float* turned = scratch + mine * places * plan.rows * (in + out);
    float* back = turned + places * plan.rows * in;
    float* sums = all + mine * size;
    Range parts = plan.of(places * (out / panel), thread, team);
    for (long k = parts.first * in * panel; k < parts.last * in * panel; k++) sums[k] = 0;
    Range blocks = plan.of_blocks(thread, team);
    for (long b = blocks.first; b < blocks.last; b++) {
      long rows = plan.rows, first = b * rows, count = plan.in_block(b, from.tiles());
      Range tiles = plan.of(count, thread, team);
      to_places<6, true, bt>(maps, from, first, tiles, rows, turned);
      to_places<4, false, a>(gradient, made, first, tiles, rows, back);
      wait_if(plan.together);
      for (long part = parts.first; part < parts.last; part++) {
        const float* left = turned + part / (out / panel) * rows * in;
        const float* right = back + part * rows * panel;
        float* sum = sums + part * in * panel;
        for (long i = 0; i < in; i += panel, left += rows * panel, sum += panel * panel) {  // 16 rows as 6, 6 and 4
          multiply<6, true>(1, count, left, 0, 1, panel, right, sum);
          multiply<6, true>(1, count, left + 6, 0, 1, panel, right, sum + 6 * panel);
          multiply<4, true>(1, count, left + 12, 0, 1, panel, right, sum + 12 * panel);
        }
      }
      wait_if(plan.together);
    }
#pragma omp barrier
#pragma omp for
    for (long o = 0; o < out; o += lanes)
      for (long i = 0; i < in; i++) {
        auto read = [&](int y, int x) {
          const float* place = all + (y * 6 + x) * in * out + in_panels(o, in) + i * panel;
          vector sum{};
          for (long k = 0; k < plan.buffers(team); k++) sum += load(place + k * size);
          return sum;
        };
        auto write = [&](int y, int x, vector v) {
          for (int l = 0; l < lanes; l++) to[((o + l) * 9 + y * 3 + x) * in + i] = v[l];
        };
        along_both<6, 3, gt>(read, write);
      }
  }
}
}
