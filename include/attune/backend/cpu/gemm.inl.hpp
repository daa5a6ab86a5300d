#pragma once

#include <concepts>
#include <new>

#include <attune/backend/cpu/gemm.hpp>
#include <attune/backend/cpu/gemm_blocks.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/memory.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/core/parallel.hpp>

namespace attune::cpu {

/// One product. One operand is packed before the tasks start and shared by them (`shared`: the weight, or
/// whichever is smaller); the other is packed by each task for itself, while it is in cache. A left operand
/// whose rows hold the words of the kernel as they are is read where it lies.
template <class T, class Out>
class Product {
 public:
  Product(const Kernels& kernels, std::int64_t rows, std::int64_t cols, std::int64_t k, PanelSource<T> a,
          PanelSource<T> b, MatrixView<Out> c, const MatmulOptions& options,
          const GemmEpilogue<Out>& epilogue, int threads = num_threads())
      : gemm_(kernels.gemm<T>()),
        finish_(kernels.elements<Out>().finish),
        a_(a),
        b_(b),
        c_(c),
        alpha_(options.alpha),
        beta_(options.beta),
        epilogue_(epilogue),
        threads_(threads),
        rows_(Panels::even(rows, gemm_.rows)),
        cols_(Panels::padded(cols, gemm_.cols)),
        blocks_(k, gemm_.group),
        direct_a_(a.along_k && !a.blocks && k > 0 && static_cast<int>(sizeof(T)) * gemm_.group == 4 &&
                  k % gemm_.group == 0 && a.stride * static_cast<std::int64_t>(sizeof(T)) % few_sets != 0) {}

  void run(const float* packed_b) const {
    if (packed_b != nullptr)
      return run_with({const_cast<float*>(packed_b), {0, cols_.count}}, {0, cols_.count});
    if (a_.along_k && b_.along_k && rows_.extent <= most_dot_rows) return run_dots();
    // The shared operand is packed in pieces, so that workspace stays small.
    const bool share_b = cols_.extent <= rows_.extent;
    if (!share_b && direct_a_) return run_with_rows({}, {0, rows_.count});
    const Panels& panels = share_b ? cols_ : rows_;
    const std::int64_t panel_bytes = std::max<std::int64_t>(1, blocks_.all_steps() * (panels.base + 1) * 4);
    const std::int64_t piece = std::max<std::int64_t>(4, most_workspace / panel_bytes);
    for (std::int64_t begin = 0; begin < panels.count; begin += piece) {
      const PanelRange range{begin, std::min(begin + piece, panels.count)};
      Scratch scratch;
      const PackedPanels shared{scratch.take<float>(blocks_.all_steps() * words_per_step(panels, range)),
                                range};
      pack_shared(share_b, shared);
      if (share_b)
        run_with(shared, range);
      else
        run_with_rows(shared, range);
    }
  }

  void pack_b(float* to) const { pack_shared(true, {to, {0, cols_.count}}); }
  std::int64_t packed_b_words() const { return blocks_.all_steps() * cols_.stored; }

 private:
  static constexpr std::int64_t most_workspace = 8 << 20;
  static constexpr int most_dot_rows = 32;
  // Rows that many bytes apart share a few sets of the first-level cache, where a panel of them does not fit.
  static constexpr std::int64_t few_sets = 2048;
  static constexpr std::int64_t tasks_per_thread = 12;

  void pack_shared(bool share_b, const PackedPanels& to) const {
    const Panels& panels = share_b ? cols_ : rows_;
    const PanelRange range = to.range;
    const std::int64_t panel_words = std::max<std::int64_t>(1, blocks_.all_steps() * panels.base);
    const std::int64_t grain = std::max<std::int64_t>(1, (std::int64_t{1} << 15) / panel_words);
    parallel_chunks(range.size(), grain, [&](std::int64_t begin, std::int64_t end) {
      pack_panels(gemm_, share_b ? b_ : a_, panels, blocks_, to, range.begin + begin, range.begin + end);
    });
  }

  PackedPanels pack_own(bool own_b, PanelRange range, Scratch& scratch) const {
    if (!own_b && direct_a_) return {};
    const Panels& panels = own_b ? cols_ : rows_;
    const PackedPanels own{scratch.take<float>(blocks_.all_steps() * words_per_step(panels, range)), range};
    pack_panels(gemm_, own_b ? b_ : a_, panels, blocks_, own, range.begin, range.end);
    return own;
  }

  /// Panels of the own operand per task: few enough for half the second-level cache and for enough tasks, but
  /// at least `least`, below which the shared operand would be read too often.
  std::int64_t own_panels(const Panels& own, std::int64_t least) const {
    const std::int64_t bytes = std::max<std::int64_t>(1, blocks_.all_steps() * own.base * 4);
    const std::int64_t fit = second_level_cache() / 2 / bytes;
    const std::int64_t spread = own.count / (tasks_per_thread * threads_);
    return std::max(std::min({fit, spread, std::int64_t{16}}), least);
  }

  /// Tasks are ranges of row panels against all columns of `shared_cols`, or against parts of them when there
  /// are few.
  void run_with(const PackedPanels& shared, PanelRange cols) const {
    const std::int64_t step = own_panels(rows_, 4);
    const std::int64_t row_tasks = (rows_.count + step - 1) / step;
    const std::int64_t cuts = column_cuts(row_tasks, cols.size());
    parallel_for(row_tasks * cuts, [&](std::int64_t task) {
      const std::int64_t begin = task / cuts * step, cut = task % cuts;
      const PanelRange own_range{begin, std::min(begin + step, rows_.count)};
      const PanelRange part{cols.begin + cols.size() * cut / cuts,
                            cols.begin + cols.size() * (cut + 1) / cuts};
      Scratch scratch;
      const PackedPanels own = pack_own(false, own_range, scratch);
      const std::int64_t height = words_per_step(rows_, own_range);
      float* const tile = scratch.take<float>(height * gemm_.cols);
      for (std::int64_t col = part.begin; col < part.end; ++col)
        for (std::int64_t block = 0; block < blocks_.count; ++block)
          for (std::int64_t row = own_range.begin; row < own_range.end; ++row)
            multiply(own, shared, row, col, block,
                     tile + (rows_.start(row) - rows_.start(own_range.begin)) * gemm_.cols);
    });
  }

  /// The same with the parts exchanged.
  void run_with_rows(const PackedPanels& shared, PanelRange rows) const {
    const std::int64_t step = own_panels(cols_, 1);
    const std::int64_t col_tasks = (cols_.count + step - 1) / step;
    const std::int64_t cuts = column_cuts(col_tasks, rows.size());
    parallel_for(col_tasks * cuts, [&](std::int64_t task) {
      const std::int64_t begin = task / cuts * step, cut = task % cuts;
      const PanelRange own_range{begin, std::min(begin + step, cols_.count)};
      const PanelRange part{rows.begin + rows.size() * cut / cuts,
                            rows.begin + rows.size() * (cut + 1) / cuts};
      Scratch scratch;
      const PackedPanels own = pack_own(true, own_range, scratch);
      const std::int64_t tile_words = std::int64_t{gemm_.rows} * gemm_.cols;
      float* const tile = scratch.take<float>(own_range.size() * tile_words);
      for (std::int64_t row = part.begin; row < part.end; ++row)
        for (std::int64_t block = 0; block < blocks_.count; ++block)
          for (std::int64_t col = own_range.begin; col < own_range.end; ++col)
            multiply(shared, own, row, col, block, tile + (col - own_range.begin) * tile_words);
    });
  }

  /// In how many parts the shared operand's panels are cut, so that all threads have work.
  std::int64_t column_cuts(std::int64_t tasks, std::int64_t panels) const {
    if (threads_ == 1 || tasks >= 4 * threads_) return 1;
    const std::int64_t wanted = (4 * threads_ + tasks - 1) / tasks;
    return std::max<std::int64_t>(1, std::min(wanted, panels / 4));
  }

  LeftPanel left_panel(const PackedPanels& packed, std::int64_t row, std::int64_t block) const {
    if (!direct_a_) return LeftPanel::packed(packed.at(rows_, blocks_, row, block), rows_.width(row));
    return {reinterpret_cast<const std::byte*>(a_.at(rows_.start(row), blocks_.begin(block))),
            a_.stride * static_cast<std::int64_t>(sizeof(T)), 4};
  }

  /// One block of k of one tile; the last block finishes it.
  void multiply(const PackedPanels& a, const PackedPanels& b, std::int64_t row, std::int64_t col,
                std::int64_t block, float* tile) const {
    const int height = rows_.width(row);
    const bool first = block == 0, last = block + 1 == blocks_.count;
    const LeftPanel a_panel = left_panel(a, row, block);
    const float* const b_panel = b.at(cols_, blocks_, col, block);
    Out* const out = c_.data + rows_.start(row) * c_.stride + cols_.start(col);
    const bool plain = epilogue_.bias == nullptr && epilogue_.activation == Unary::identity &&
                       !epilogue_.pre_activation && !epilogue_.residual;
    if constexpr (std::same_as<Out, float>) {
      if (plain && cols_.filled(col) == gemm_.cols)
        return gemm_.micro(height, blocks_.steps(block), a_panel, b_panel, out, c_.stride, alpha_,
                           first ? beta_ : 1.0f);
    }
    if (last) {  // the lines that the tile goes to come while the product runs
      prefetch(out, c_.stride, height);
      if (epilogue_.pre_activation)
        prefetch(epilogue_.pre_activation.row(rows_.start(row)) + cols_.start(col),
                 epilogue_.pre_activation.stride, height);
      if (epilogue_.residual)
        prefetch(epilogue_.residual.row(rows_.start(row)) + cols_.start(col), epilogue_.residual.stride,
                 height);
    }
    gemm_.micro(height, blocks_.steps(block), a_panel, b_panel, tile, gemm_.cols, alpha_,
                first ? 0.0f : 1.0f);
    if (last) finish(tile, gemm_.cols, rows_.start(row), height, cols_.start(col), cols_.filled(col));
  }

  template <class E>
  void prefetch(const E* first, std::int64_t stride, int height) const {
    for (int r = 0; r < height; ++r) {
      __builtin_prefetch(first + r * stride, 1);
      __builtin_prefetch(first + r * stride + gemm_.cols / 2, 1);
    }
  }

  void finish(float* tile, std::int64_t tile_stride, std::int64_t row, std::int64_t rows, std::int64_t col,
              std::int64_t cols) const {
    TileFinish<Out> end;
    end.tile = tile;
    end.tile_stride = tile_stride;
    end.activation = epilogue_.activation;
    end.beta = beta_;
    if (epilogue_.bias != nullptr) end.bias = epilogue_.bias + col;
    if (epilogue_.pre_activation) {
      end.pre = epilogue_.pre_activation.row(row) + col;
      end.pre_stride = epilogue_.pre_activation.stride;
    }
    if (epilogue_.residual) {
      end.residual = epilogue_.residual.row(row) + col;
      end.residual_stride = epilogue_.residual.stride;
    }
    end.out = c_.row(row) + col;
    end.out_stride = c_.stride;
    finish_(end, rows, cols);
  }

  /// Few rows: reading b is most of the cost, so it is read once and not packed.
  void run_dots() const {
    constexpr std::int64_t strip = 32;
    const std::int64_t words = std::max<std::int64_t>(1, strip * blocks_.k);
    const std::int64_t strips = std::max<std::int64_t>(1, (std::int64_t{1} << 14) / words);
    const auto rows = static_cast<int>(rows_.extent);
    parallel_chunks(cols_.extent, strip * strips, [&](std::int64_t begin, std::int64_t end) {
      float tile[most_dot_rows * strip];
      Scratch scratch;
      T* const buffer = b_.blocks ? scratch.take<T>(4 * blocks_.k) : nullptr;
      for (std::int64_t col = begin; col < end; col += strip) {
        const auto here = static_cast<int>(std::min(strip, end - col));
        for (int j = 0; j < here; j += 4) {  // these columns of b stay in cache for all rows
          const int columns = std::min(4, here - j);
          for (int i = 0; b_.blocks && i < columns; ++i)
            dequantize_row(gemm_, b_.blocks, col + j + i, 0, blocks_.k, buffer + i * blocks_.k);
          const T* const from = b_.blocks ? buffer : b_.at(col + j, 0);
          gemm_.dot(rows, columns, blocks_.k, a_.at(0, 0), a_.stride, from, b_.blocks ? blocks_.k : b_.stride,
                    tile + j, strip);
        }
        if (alpha_ != 1.0f)
          for (float& value : tile) value *= alpha_;
        finish(tile, strip, 0, rows, col, here);
      }
    });
  }

  const GemmKernels<T>& gemm_;
  void (*finish_)(const TileFinish<Out>&, std::int64_t, std::int64_t);
  PanelSource<T> a_, b_;
  MatrixView<Out> c_;
  float alpha_, beta_;
  GemmEpilogue<Out> epilogue_;
  int threads_;  // that tasks are cut for
  Panels rows_, cols_;
  KBlocks blocks_;
  bool direct_a_;  // a is read without packing
};

template <class T, class Out>
void multiply(MatrixView<const T> a, MatrixView<const T> b, MatrixView<Out> c, const MatmulOptions& options,
              const GemmEpilogue<Out>& epilogue) {
  const std::int64_t rows = options.transpose_a ? a.cols : a.rows, k = options.transpose_a ? a.rows : a.cols;
  const std::int64_t cols = options.transpose_b ? b.rows : b.cols;
  if (rows == 0 || cols == 0) return;
  const Kernels& set = kernels();
  const auto run = [&](std::int64_t batch) {
    MatrixView<Out> out = c;
    out.data += batch * options.batch_stride_c;
    Product<T, Out>(
        set, rows, cols, k, {a.data + batch * options.batch_stride_a, a.stride, !options.transpose_a},
        {b.data + batch * options.batch_stride_b, b.stride, options.transpose_b}, out, options, epilogue)
        .run(nullptr);
  };
  // Products inside a task run in its thread.
  if (options.batch >= num_threads())
    parallel_for(options.batch, run);
  else
    for (std::int64_t batch = 0; batch < options.batch; ++batch) run(batch);
}

template <class T>
void multiply_packed(MatrixView<const T> a, const PackedMatrix<T>& b, MatrixView<T> c,
                     const MatmulOptions& options, const GemmEpilogue<T>& epilogue) {
  const std::int64_t rows = options.transpose_a ? a.cols : a.rows;
  if (rows == 0 || b.cols() == 0) return;
  Product<T, T>(kernels(b.isa()), rows, b.cols(), b.rows(), {a.data, a.stride, !options.transpose_a},
                {nullptr, 0, false}, c, options, epilogue)
      .run(b.data());
}

template <class T>
void multiply_blocks(MatrixView<const T> a, const BlockView& b, MatrixView<T> c, const MatmulOptions& options,
                     const GemmEpilogue<T>& epilogue) {
  const std::int64_t rows = options.transpose_a ? a.cols : a.rows, k = options.transpose_a ? a.rows : a.cols;
  const std::int64_t cols = options.transpose_b ? b.rows : b.cols;
  if (rows == 0 || cols == 0) return;
  Product<T, T>(kernels(), rows, cols, k, {a.data, a.stride, !options.transpose_a},
                {nullptr, 0, options.transpose_b, b}, c, options, epilogue)
      .run(nullptr);
}

template <class T>
PackedMatrix<T>::PackedMatrix(MatrixView<const T> b, bool transposed)
    : rows_(transposed ? b.cols : b.rows), cols_(transposed ? b.rows : b.cols), isa_(active_isa()) {
  const Product<T, T> product(kernels(isa_), 0, cols_, rows_, {nullptr, 0, true},
                              {b.data, b.stride, transposed}, {}, {}, {});
  const auto bytes =
      static_cast<std::size_t>(std::max<std::int64_t>(1, product.packed_b_words())) * sizeof(float);
  data_ = {static_cast<float*>(host_memory().allocate(bytes)), Free{bytes}};
  product.pack_b(data_.get());
}

template <class T>
void PackedMatrix<T>::Free::operator()(float* data) const noexcept {
  host_memory().deallocate(data, bytes);
}

ATTUNE_INLINE void gemm(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
                        const MatmulOptions& options) {
  multiply<float, float>(a, b, c, options, {});
}
ATTUNE_INLINE void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<bfloat16> c,
                        const MatmulOptions& options) {
  multiply<bfloat16, bfloat16>(a, b, c, options, {});
}
ATTUNE_INLINE void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<float> c,
                        const MatmulOptions& options) {
  multiply<bfloat16, float>(a, b, c, options, {});
}
ATTUNE_INLINE void gemm(MatrixView<const float> a, MatrixView<const float> b, MatrixView<float> c,
                        const MatmulOptions& options, const GemmEpilogue<float>& epilogue) {
  multiply<float, float>(a, b, c, options, epilogue);
}
ATTUNE_INLINE void gemm(MatrixView<const bfloat16> a, MatrixView<const bfloat16> b, MatrixView<bfloat16> c,
                        const MatmulOptions& options, const GemmEpilogue<bfloat16>& epilogue) {
  multiply<bfloat16, bfloat16>(a, b, c, options, epilogue);
}
ATTUNE_INLINE void gemm(MatrixView<const float> a, const PackedMatrix<float>& b, MatrixView<float> c,
                        const MatmulOptions& options, const GemmEpilogue<float>& epilogue) {
  multiply_packed(a, b, c, options, epilogue);
}
ATTUNE_INLINE void gemm(MatrixView<const bfloat16> a, const PackedMatrix<bfloat16>& b, MatrixView<bfloat16> c,
                        const MatmulOptions& options, const GemmEpilogue<bfloat16>& epilogue) {
  multiply_packed(a, b, c, options, epilogue);
}
ATTUNE_INLINE void gemm(MatrixView<const float> a, const BlockView& b, MatrixView<float> c,
                        const MatmulOptions& options, const GemmEpilogue<float>& epilogue) {
  multiply_blocks(a, b, c, options, epilogue);
}
ATTUNE_INLINE void gemm(MatrixView<const bfloat16> a, const BlockView& b, MatrixView<bfloat16> c,
                        const MatmulOptions& options, const GemmEpilogue<bfloat16>& epilogue) {
  multiply_blocks(a, b, c, options, epilogue);
}

}  // namespace attune::cpu
