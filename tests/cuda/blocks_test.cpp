// Products with quantised matrices on the CUDA backend, in the emulator.
#include <doctest/doctest.h>

#include <utility>
#include <vector>

#include <attune/backend/reference/reference.hpp>
#include <attune/core/block_type.hpp>
#include <attune/core/random.hpp>

#include "suites/conformance.hpp"
#include "suites/kernel_cases_rows.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

void check_blocks() {
  KernelTable<Cuda> table;
  add_block_cases(table);
  check_against_reference<float>(tested_device(), table);
  check_against_reference<bfloat16>(tested_device(), table);
}

}  // namespace

TEST_CASE("Cuda: products with quantised blocks are within their bounds of the reference") { check_blocks(); }

TEST_CASE("Cuda: products with quantised blocks, a part of the matrix at a time") {
  const std::size_t before = std::exchange(cuda::block_tile_bytes(), 40000);  // 33 x 1568: 5 parts and more
  check_blocks();
  cuda::block_tile_bytes() = before;
}

TEST_CASE("Cuda: every half and every integer of a block becomes the element that it stands for") {
  const Cuda device = tested_device();
  constexpr std::int64_t size = block_elements;
  for (const BlockType type : {BlockType::q8_0, BlockType::q4_0, BlockType::q4_1}) {
    CAPTURE(name_of(type));
    // A row for each of the 65536 bit patterns of the half would be slow: all exponents, some mantissas, both
    // signs.
    std::vector<std::byte> blocks;
    RandomStream random(17);
    std::int64_t rows = 0;
    for (const std::uint32_t sign : {0u, 0x8000u})
      for (std::uint32_t exponent = 0; exponent < 31; ++exponent)
        for (const std::uint32_t mantissa : {0u, 1u, 0x2aau, 0x3ffu}) {
          const std::uint32_t half = sign | exponent << 10 | mantissa, other = random.below(0x7c00);
          for (const std::uint32_t bits : {half, other}) {
            if (bits == other && type != BlockType::q4_1) continue;
            blocks.push_back(static_cast<std::byte>(bits & 255));
            blocks.push_back(static_cast<std::byte>(bits >> 8));
          }
          while (static_cast<std::int64_t>(blocks.size()) < (rows + 1) * block_bytes(type))
            blocks.push_back(static_cast<std::byte>(random.below(256)));
          ++rows;
        }
    void* const memory = device.allocate(blocks.size());
    device.upload(memory, blocks.data(), blocks.size());
    const BlockView matrix{static_cast<const std::byte*>(memory), rows, size, type};
    // c = 1 w: the elements themselves.
    std::vector<float> unit(static_cast<std::size_t>(rows * rows)),
        found(static_cast<std::size_t>(rows * size));
    for (std::int64_t row = 0; row < rows; ++row) unit[static_cast<std::size_t>(row * (rows + 1))] = 1.0f;
    auto* const a = static_cast<float*>(device.allocate(unit.size() * sizeof(float)));
    auto* const c = static_cast<float*>(device.allocate(found.size() * sizeof(float)));
    device.upload(a, unit.data(), unit.size() * sizeof(float));
    device.matmul(MatrixView<const float>{a, rows, rows, rows}, matrix,
                  MatrixView<float>{c, rows, size, size}, {});
    device.download(found.data(), c, found.size() * sizeof(float));
    const BlockView host{blocks.data(), rows, size, type};
    std::int64_t wrong = 0;
    for (std::int64_t row = 0; row < rows; ++row)
      for (int i = 0; i < size; ++i)
        wrong +=
            found[static_cast<std::size_t>(row * size + i)] != block_element(type, host.block(row, 0), i);
    CHECK(wrong == 0);
    device.deallocate(memory, blocks.size());
    device.deallocate(a, unit.size() * sizeof(float));
    device.deallocate(c, found.size() * sizeof(float));
  }
}
