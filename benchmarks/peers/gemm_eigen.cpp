// Products of linear layers against Eigen's, one thread, alternating. Eigen has the instruction set that this
// file is compiled for, attune the one that it finds or that ATTUNE_ISA names.
#include <Eigen/Dense>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <vector>

#include <attune/backend/cpu/gemm.hpp>
#include <attune/core/parallel.hpp>

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

template <class F>
double seconds(const F& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

attune::MatrixView<const float> view(const Matrix& m) { return {m.data(), m.rows(), m.cols(), m.cols()}; }

}  // namespace

int main() {
  attune::set_num_threads(1);
  for (const auto& [tokens, inputs, outputs] : {std::array{64, 384, 384}, std::array{512, 384, 384},
                                                std::array{2048, 384, 1536}, std::array{2048, 768, 3072}}) {
    const Matrix x = Matrix::Random(tokens, inputs), weight = Matrix::Random(outputs, inputs);
    Matrix y(tokens, outputs), z(tokens, outputs);
    std::vector<double> eigen, own;
    for (int repeat = 0; repeat < 9; ++repeat) {
      eigen.push_back(seconds([&] { y.noalias() = x * weight.transpose(); }));
      own.push_back(seconds([&] {
        attune::cpu::gemm(view(x), view(weight),
                          attune::MatrixView<float>{z.data(), z.rows(), z.cols(), z.cols()},
                          {.transpose_b = true});
      }));
    }
    const double gflop = 2e-9 * tokens * inputs * outputs;
    std::printf("%4d x %4d x %4d  Eigen %6.1f GFLOP/s  attune %6.1f GFLOP/s  largest difference %.2g\n",
                tokens, inputs, outputs, gflop / median(eigen), gflop / median(own),
                double((y - z).cwiseAbs().maxCoeff()));
  }
}
