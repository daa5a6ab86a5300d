// Attention of the CUDA backend in the emulator: fragments of tensor cores, heads of all sizes, many keys for
// few queries.
#include <doctest/doctest.h>
#include <attune/backend/cuda/kernels/attention_mma_backward.cuh>
#include <attune/core/error.hpp>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "suites/conformance.hpp"
#include "suites/kernel_cases_sequence.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

// ---- fragments, as the PTX ISA states them: "Matrix fragments for mma.m16n8k16 with floating point type"
// ----

/// Element i of a lane's operand A (16 x 16), B (16 x 8), and of its accumulator (16 x 8).
struct Cell {
  int row, column;
};
Cell cell_of_a(int lane, int i) {
  const int group = lane >> 2, in_group = lane % 4;
  return {i < 2 || (i >= 4 && i < 6) ? group : group + 8, in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0)};
}
Cell cell_of_b(int lane, int i) { return {lane % 4 * 2 + (i & 1) + (i >= 2 ? 8 : 0), lane >> 2}; }
Cell cell_of_c(int lane, int i) { return {i < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (i & 1)}; }

uint32_t pair_of(float low, float high) {
  return bfloat16(low).bits | static_cast<uint32_t>(bfloat16(high).bits) << 16;
}

/// c [16, 8] = a [16, 16] b [16, 8].
void multiply_by_documented_fragments(const float* a, const float* b, float* c) {
  const int lane = static_cast<int>(threadIdx.x);
  const auto element_a = [&](int i) { return a[cell_of_a(lane, i).row * 16 + cell_of_a(lane, i).column]; };
  const auto element_b = [&](int i) { return b[cell_of_b(lane, i).row * 8 + cell_of_b(lane, i).column]; };
  uint32_t left[4], right[2];
  for (int r = 0; r < 4; ++r) left[r] = pair_of(element_a(2 * r), element_a(2 * r + 1));
  for (int r = 0; r < 2; ++r) right[r] = pair_of(element_b(2 * r), element_b(2 * r + 1));
  float sums[4] = {};
  cuda::port::mma_m16n8k16(sums, left, right, sums);
  for (int i = 0; i < 4; ++i) c[cell_of_c(lane, i).row * 8 + cell_of_c(lane, i).column] = sums[i];
}

/// The same by ldmatrix: a [16, 16] and b [16, 8] transposed, b [8, 16] as it lies.
void multiply_by_loaded_fragments(const uint16_t* a, const uint16_t* b, const uint16_t* b_transposed,
                                  float* c, float* c_transposed) {
  ATTUNE_SHARED(uint16_t, tile_a, 16 * 24);
  ATTUNE_SHARED(uint16_t, tile_b, 16 * 24);
  ATTUNE_SHARED(uint16_t, tile_t, 16 * 24);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile_a[i / 16 * 24 + i % 16] = a[i];
  for (int i = lane; i < 256; i += 32) tile_b[i / 16 * 24 + i % 16] = i % 16 < 8 ? b[i / 16 * 8 + i % 16] : 0;
  for (int i = lane; i < 256; i += 32) tile_t[i / 16 * 24 + i % 16] = i < 128 ? b_transposed[i] : 0;
  cuda::port::sync_block();
  uint32_t left[4], right[4], right_t[4];
  cuda::port::ldmatrix_x4(left, tile_a + lane % 16 * 24 + lane / 16 * 8);
  cuda::port::ldmatrix_x4_transposed(right, tile_b + lane % 16 * 24 + lane / 16 * 8);
  cuda::port::ldmatrix_x4(right_t, tile_t + (lane % 8 + lane / 16 * 8) * 24 + lane / 8 % 2 * 8);
  float sums[4] = {}, sums_t[4] = {};
  const uint32_t first[2] = {right[0], right[1]}, first_t[2] = {right_t[0], right_t[1]};
  cuda::port::mma_m16n8k16(sums, left, first, sums);
  cuda::port::mma_m16n8k16(sums_t, left, first_t, sums_t);
  for (int i = 0; i < 4; ++i) {
    const int at = cell_of_c(lane, i).row * 8 + cell_of_c(lane, i).column;
    c[at] = sums[i];
    c_transposed[at] = sums_t[i];
  }
}

template <class T>
class OnDevice {
 public:
  OnDevice(const Cuda& device, const std::vector<T>& values) : device_(device), count_(values.size()) {
    data_ = static_cast<T*>(device_.allocate(count_ * sizeof(T)));
    device_.upload(data_, values.data(), count_ * sizeof(T));
  }
  ~OnDevice() { device_.deallocate(data_, count_ * sizeof(T)); }
  OnDevice(const OnDevice&) = delete;
  T* get() const { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(count_);
    device_.download(values.data(), data_, count_ * sizeof(T));
    return values;
  }

 private:
  Cuda device_;
  std::size_t count_;
  T* data_;
};

std::vector<float> small_integers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<int>(random() % 17) - 8);
  return values;
}
std::vector<uint16_t> in_bfloat16(const std::vector<float>& values) {
  std::vector<uint16_t> bits;
  for (const float value : values) bits.push_back(bfloat16(value).bits);
  return bits;
}

// ---- attention ----

/// Sequences longer than a tile, one shorter, and heads that fill tiles and do not. Rows apart by 3 are not
/// aligned to 16 bytes.
KernelTable<Cuda> heads_of_all_sizes() {
  const Lengths ragged{{70, 0, 33, 1}};
  KernelTable<Cuda> table;
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {"of 32 columns", ragged, ragged, 2, 1, 32},
           {"of 64 columns, causal", ragged, ragged, 2, 2, 64, 0, true},
           {"of 96 columns, window", ragged, ragged, 1, 1, 96, 0, true, 20},
           {"of 128 columns, dropout", ragged, ragged, 2, 1, 128, 0, true, 0, 0, 0.25f},
           {"of 80 columns, dropout with holes", {{40}}, {{40}}, 1, 1, 80, 0, false, 0, 0, 0.25f, true},
           {"of 72 columns, rows apart", {{40}}, {{50}}, 1, 1, 72, 3},
           {"of 33 columns", {{40}}, {{20}}, 1, 1, 33},
           {"of 48 columns, some without keys", {{20, 9}}, {{0, 12}}, 2, 1, 48},
           {"of 192 columns", {{20}}, {{20}}, 1, 1, 192}})
    add_attention_case(table, c, 1.0);
  return table;
}

/// Largest scores that grow from tile to tile by more than a row's sums are left for, and scores that are not
/// multiplied by a positive number.
KernelTable<Cuda> unusual_scales() {
  const Lengths lengths{{150, 20}};
  KernelTable<Cuda> table;
  for (const float sharpness : {40.0f, -1.0f, -40.0f, 0.0f})
    for (const std::int64_t head_size : {64, 128})
      add_attention_case(table, {"of " + std::to_string(head_size) + " columns, times " +
                                     std::to_string(static_cast<int>(sharpness)),
                                 lengths, lengths, 2, 1, head_size, 0, true, 0, 0, 0.25f, false, sharpness});
  return table;
}

/// One or few queries over keys in several chunks.
KernelTable<Cuda> few_queries() {
  KernelTable<Cuda> table;
  for (const AttentionCase& c : std::vector<AttentionCase>{
           {"of one query a sequence", {{1, 0, 1, 1}}, {{300, 5, 128, 1}}, 2, 2, 64},
           {"of one query, three heads a key", {{1, 1}}, {{129, 260}}, 6, 2, 32},
           {"of one query, eight heads a key", {{1}}, {{257}}, 8, 1, 128},
           {"of two queries, causal, in a window", {{2, 2}}, {{140, 140}}, 4, 2, 20, 3, true, 30, 138},
           {"of one query, 256 columns", {{1, 1}}, {{0, 131}}, 1, 1, 256},
           {"of one query, 5 columns", {{1}}, {{140}}, 1, 1, 5, 1}})
    add_attention_case(table, c, 1.0);
  return table;
}

/// Counts the blocks of each tile, head and sequence, and keeps the number of the last of them.
void record_blocks(cuda::BlockOrder order, int* counts, int* numbers) {
  if (!order.present()) return;
  const cuda::BlockOrder::Block block = order.block();
  const unsigned at = (block.sequence * order.heads + static_cast<unsigned>(block.head)) * gridDim.y +
                      static_cast<unsigned>(block.tile);
  if (threadIdx.x != 0) return;
  cuda::port::atomic_add(counts + at, 1);
  numbers[at] = static_cast<int>((blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x);
}

/// The backward on tensor cores where dropout's decisions of one key head at a time have room.
KernelTable<Cuda> backward_by_heads() {
  KernelTable<Cuda> table;
  add_attention_case(table, {"by heads", {{70, 9}}, {{70, 9}}, 6, 3, 32, 0, true, 0, 0, 0.25f});
  KernelTable<Cuda> result;
  for (KernelCase<Cuda> kernel_case : table.cases()) {
    if (kernel_case.name.find("backward") == std::string::npos) continue;
    result.add(kernel_case.name, kernel_case.arrays, kernel_case.prepare, [](const auto& b, auto& a) {
      using B = std::remove_cvref_t<decltype(b)>;
      using T = std::remove_cvref_t<decltype(*a.matrix(5).data)>;
      AttentionOptions options;
      const std::int32_t* positions = a.integers(1).data();
      options.query_segments = options.key_segments = {a.integers(0).data(), 2, 79, 70, positions};
      options.heads = 6;
      options.kv_heads = 3;
      options.head_size = 32;
      options.scale = 1.0f / std::sqrt(32.0f);
      options.causal = true;
      options.dropout = {0.25f, {5, 6}, 3, a.integers(4).data(), positions};
      if constexpr (std::is_same_v<B, Cuda> && std::is_same_v<T, bfloat16>)
        cuda::attention_backward_on_tensor_cores(b.context(), a.matrix(10), a.matrix(5), a.matrix(6),
                                                 a.matrix(7), a.matrix(8), a.wide_matrix(9), options,
                                                 a.matrix(11), a.matrix(12), a.matrix(13), 1);
      else
        b.attention_backward(a.matrix(10), a.matrix(5), a.matrix(6), a.matrix(7), a.matrix(8),
                             a.wide_matrix(9), options, a.matrix(11), a.matrix(12), a.matrix(13));
    });
  }
  return result;
}

/// |found - expected| / |expected| in the 2-norm, over the cells of an output.
double relative_error(const Array& array, const std::vector<double>& found,
                      const std::vector<double>& expected) {
  double difference = 0.0, size = 0.0;
  for (std::size_t at = 0; at < found.size(); ++at) {
    if (!array.is_cell(static_cast<std::int64_t>(at)) || std::isinf(expected[at])) continue;
    difference += std::pow(found[at] - expected[at], 2);
    size += std::pow(expected[at], 2);
  }
  return size > 0 ? std::sqrt(difference / size) : std::sqrt(difference);
}

/// Roundings to bfloat16 are independent of each other: the whole of an output is much closer than the bounds
/// of its elements say.
void check_norms(const KernelTable<Cuda>& table, double most = 0x1p-8) {
  for (const KernelCase<Cuda>& kernel_case : table.cases()) {
    CAPTURE(kernel_case.name);
    const Storages before = initial_values<bfloat16>(kernel_case);
    const Storages exact = run_on<Cuda>(Reference{}, kernel_case.arrays, before, kernel_case.reference);
    const Storages found =
        run_on<Cuda>(tested_device(), kernel_case.arrays, before, kernel_case.in<bfloat16>());
    for (std::size_t i = 0; i < exact.size(); ++i) {
      if (kernel_case.arrays[i].role == Role::input) continue;
      CAPTURE(i);
      CHECK(relative_error(kernel_case.arrays[i], found[i], exact[i]) < most);
    }
  }
}

}  // namespace

TEST_CASE("Cuda: fragments lie as the PTX ISA says") {
  const Cuda device = tested_device();
  const std::vector<float> a = small_integers(256, 1), b = small_integers(128, 2);
  std::vector<float> b_transposed(128), expected(128);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 8; ++j) {
      b_transposed[static_cast<std::size_t>(j * 16 + i)] = b[static_cast<std::size_t>(i * 8 + j)];
      for (int k = 0; k < 16; ++k)
        expected[static_cast<std::size_t>(i * 8 + j)] +=
            a[static_cast<std::size_t>(i * 16 + k)] * b[static_cast<std::size_t>(k * 8 + j)];
    }
  const OnDevice<float> c(device, std::vector<float>(128, -1.0f)), c_transposed(device, expected);
  const auto config = cuda::launch_config(device.context(), 1, 32);
  SUBCASE("registers that are filled by hand") {
    const OnDevice<float> device_a(device, a), device_b(device, b);
    cuda::check(
        ATTUNE_LAUNCH(config, multiply_by_documented_fragments, static_cast<const float*>(device_a.get()),
                      static_cast<const float*>(device_b.get()), c.get()),
        "fragments");
    CHECK(c.values() == expected);
  }
  SUBCASE("registers that are loaded as matrices") {
    const OnDevice<uint16_t> device_a(device, in_bfloat16(a)), device_b(device, in_bfloat16(b)),
        device_t(device, in_bfloat16(b_transposed));
    const OnDevice<float> other(device, std::vector<float>(128, -1.0f));
    cuda::check(
        ATTUNE_LAUNCH(config, multiply_by_loaded_fragments, static_cast<const uint16_t*>(device_a.get()),
                      static_cast<const uint16_t*>(device_b.get()),
                      static_cast<const uint16_t*>(device_t.get()), c.get(), other.get()),
        "fragments");
    CHECK(c.values() == expected);
    CHECK(other.values() == expected);
  }
}

TEST_CASE("Cuda: attention with heads of all sizes is within its bounds of the reference") {
  check_against_reference<float>(tested_device(), heads_of_all_sizes());
  check_against_reference<bfloat16>(tested_device(), heads_of_all_sizes());
  check_norms(heads_of_all_sizes());
}

TEST_CASE("Cuda: attention with unusual scales is nearly as exact in the 2-norm") {
  // Where one weight is nearly 1, its gradient is a small difference, and delta is taken from a rounded y.
  check_norms(unusual_scales(), 0x1p-6);
}

TEST_CASE("Cuda: attention is differentiated some heads at a time where decisions of dropout have no room") {
  check_norms(backward_by_heads());
}

TEST_CASE(
    "Cuda: each tile of attention has its block, and tiles come in order for heads that share the cache") {
  const Cuda device = tested_device();
  for (const auto& [heads, sequences, bytes, together] : std::vector<std::array<std::int64_t, 4>>{
           {3, 5, 1, 15}, {3, 5, std::int64_t{6} << 20, 4}, {2, 1, 1 << 30, 1}}) {
    const cuda::BlockOrder order(heads, sequences);
    const dim3 grid = order.grid(130, 64, bytes);
    CHECK(grid.x == together);
    CHECK(grid.y == 3);
    const std::size_t blocks = static_cast<std::size_t>(heads * sequences * 3);
    const OnDevice<int> counts(device, std::vector<int>(blocks)), numbers(device, std::vector<int>(blocks));
    const auto config = cuda::launch_config(device.context(), grid, 32);
    cuda::check(ATTUNE_LAUNCH(config, record_blocks, order, counts.get(), numbers.get()), "blocks");
    CHECK(counts.values() == std::vector<int>(blocks, 1));
    const std::vector<int> found = numbers.values();
    for (std::size_t pair = 0; pair < blocks / 3; ++pair) {
      const int first = static_cast<int>(pair) / static_cast<int>(together) * static_cast<int>(3 * together) +
                        static_cast<int>(pair) % static_cast<int>(together);
      for (int tile = 0; tile < 3; ++tile)
        CHECK(found[pair * 3 + static_cast<std::size_t>(tile)] == first + tile * static_cast<int>(together));
    }
  }
}

TEST_CASE("Cuda: attention of few queries is within its bounds of the reference") {
  check_against_reference<float>(tested_device(), few_queries());
  check_against_reference<bfloat16>(tested_device(), few_queries());
}

TEST_CASE("Cuda: attention has the same bits in another order of execution") {
  const Cuda device = tested_device();
  cuda_emulation::Config& config = cuda_emulation::config();
  const cuda_emulation::Config before = config;
  for (const KernelTable<Cuda>& table : {heads_of_all_sizes(), few_queries()})
    for (const KernelCase<Cuda>& kernel_case : table.cases()) {
      CAPTURE(kernel_case.name);
      const Storages values = initial_values<bfloat16>(kernel_case);
      const Storages first = run_on<Cuda>(device, kernel_case.arrays, values, kernel_case.in<bfloat16>());
      config.order = before.order == cuda_emulation::Order::depth ? cuda_emulation::Order::rounds
                                                                  : cuda_emulation::Order::depth;
      config.shuffle = true;
      config.seed = before.seed + 16;
      const Storages second = run_on<Cuda>(device, kernel_case.arrays, values, kernel_case.in<bfloat16>());
      config = before;
      for (std::size_t i = 0; i < first.size(); ++i) {
        CAPTURE(i);
        CHECK(std::memcmp(first[i].data(), second[i].data(), first[i].size() * sizeof(double)) == 0);
      }
    }
}

TEST_CASE("Cuda: heads of more than 256 columns are refused") {
  KernelTable<Cuda> table;
  add_attention_case(table, {"of 257 columns", {{9}}, {{9}}, 1, 1, 257});
  for (const KernelCase<Cuda>& kernel_case : table.cases()) {
    const Storages values = initial_values<float>(kernel_case);
    CHECK_THROWS_WITH_AS(run_on<Cuda>(tested_device(), kernel_case.arrays, values, kernel_case.in_float),
                         "cuda: attention: heads of at most 256 columns are supported, found 257",
                         DeviceError);
  }
}
