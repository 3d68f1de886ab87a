// The gradient of the weights of a convolution that skips pixels, of float32 maps, channels last, as the sums that
// define it.
//
// In channels last the pixels of a kernel's row lie side by side, side * in numbers. The gradient of a row of weights
// [side * in][out] is their product with the gradients behind, over all outputs; nothing is copied but a band of the
// maps with zeros around it, and the gradients of that band in panels of 16 channels.
#include <algorithm>
#include <type_traits>

#include "vectors.h"

namespace {

constexpr long band = 4;  // rows of outputs at once

struct Shape {
  long images, height, width, in, out, side, stride;
  long edge() const { return side / 2; }
  long rows() const { return (height - 1) / stride + 1; }
  long columns() const { return (width - 1) / stride + 1; }
  long bands() const { return (rows() + band - 1) / band; }
  long line() const { return (width + 2 * edge()) * in; }  // numbers of a row of maps with its zeros
  long run() const { return side * in; }
  long weights() const { return side * run() * out; }
  long padded() const { return (stride * (band - 1) + side) * line(); }
  long scratch() const { return weights() + padded() + band * columns() * out; }  // of a thread
};

// Rows of one image from `first` on, with zeros around it
void pad(const float* image, const Shape& shape, long first, long rows, float* to) {
  long edge = shape.edge() * shape.in, own = shape.width * shape.in;
  for (long y = first; y < first + rows; y++, to += shape.line()) {
    if (y < 0 || y >= shape.height) {
      std::fill_n(to, shape.line(), 0.f);
      continue;
    }
    std::fill_n(to, edge, 0.f);
    std::copy_n(image + y * own, own, to + edge);
    std::fill_n(to + edge + own, edge, 0.f);
  }
}

// `what(first, number)` for rows of a product in groups of up to six, as alike as can be
template <class Do>
INLINE void in_groups(long count, Do what) {
  long groups = (count + 5) / 6;
  for (long g = 0; g < groups; g++) {
    Range of = share(count, g, groups);
    switch (of.last - of.first) {
      case 6: what(of.first, std::integral_constant<int, 6>{}); break;
      case 5: what(of.first, std::integral_constant<int, 5>{}); break;
      case 4: what(of.first, std::integral_constant<int, 4>{}); break;
      case 3: what(of.first, std::integral_constant<int, 3>{}); break;
      case 2: what(of.first, std::integral_constant<int, 2>{}); break;
      default: what(of.first, std::integral_constant<int, 1>{});
    }
  }
}

}  // namespace

extern "C" {

// Floats of `scratch` that `strided_gradient` needs
long strided_scratch_of(long images, long height, long width, long in, long out, long side, long stride, int threads) {
  return threads * Shape{images, height, width, in, out, side, stride}.scratch();
}

// maps, gradient [images][rows][columns][out] of what was made of them -> gradient of weights [out][side][side][in]
void strided_gradient(const float* maps, const float* gradient, float* to, long images, long height, long width,
                      long in, long out, long side, long stride, int threads, float* scratch) {
  Shape shape{images, height, width, in, out, side, stride};
  long rows = shape.rows(), columns = shape.columns(), run = shape.run();
  auto place = [&](long o, long k) { return o / panel * side * run * panel + k * panel + o % panel; };
#pragma omp parallel num_threads(threads)
  {
#pragma omp for
    for (long t = 0; t < threads; t++) std::fill_n(scratch + t * shape.scratch(), shape.weights(), 0.f);
    int thread = omp_get_thread_num(), team = omp_get_num_threads();  // fewer than asked for, it may be
    float* sums = scratch + thread * shape.scratch();                 // [out / 16][side][side * in][16]
    float* padded = sums + shape.weights();
    float* panels = padded + shape.padded();  // [out / 16][rows][columns][16]
    Range bands = share(images * shape.bands(), thread, team);
    for (long b = bands.first; b < bands.last; b++) {
      long image = b / shape.bands(), first = b % shape.bands() * band, count = std::min(band, rows - first);
      pad(maps + image * height * width * in, shape, first * stride - shape.edge(), (count - 1) * stride + side,
          padded);
      const float* from = gradient + (image * rows + first) * columns * out;
      for (long p = 0; p < count * columns; p++)
        for (long o = 0; o < out; o += lanes)
          store(panels + in_panels(o, count * columns) + p * panel, load(from + p * out + o));
      for (long o = 0; o < out; o += panel)
        for (long y = 0; y < side; y++)
          in_groups(run, [&](long k, auto number) INLINE_LAMBDA {
            multiply<number, true>(count, columns, padded + y * shape.line() + k, stride * shape.line(), 1, stride * in,
                                   panels + o * count * columns, sums + place(o, y * run + k));
          });
    }
#pragma omp barrier
#pragma omp for
    for (long o = 0; o < out; o++)
      for (long k = 0; k < side * run; k++) {
        float sum = 0;
        for (long t = 0; t < team; t++) sum += scratch[t * shape.scratch() + place(o, k)];
        to[o * side * run + k] = sum;
      }
  }
}
}
