#include <doctest/doctest.h>
#include <attune/core/batch.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/parallel.hpp>
#include <attune/core/random.hpp>
#include <attune/core/shape.hpp>

#include <atomic>
#include <cmath>
#include <limits>
#include <vector>

using namespace attune;

TEST_CASE("float16 and bfloat16: every half survives the way through float, and rounding ties to even") {
  for (std::uint32_t bits = 0; bits < 0x10000u; ++bits) {
    float16 half;
    half.bits = static_cast<std::uint16_t>(bits);
    const float value = static_cast<float>(half);
    if (std::isnan(value)) {
      CHECK(std::isnan(static_cast<float>(float16(value))));
    } else {
      REQUIRE(float16(value).bits == bits);
    }
    bfloat16 brain;
    brain.bits = static_cast<std::uint16_t>(bits);
    if (!std::isnan(float(brain))) REQUIRE(bfloat16(float(brain)).bits == bits);
  }
  CHECK(static_cast<float>(float16(65519.0f)) == 65504.0f);
  CHECK(std::isinf(static_cast<float>(float16(65520.0f))));
  CHECK(float(bfloat16(1.00390625f)) == 1.0f);       // half way, the even side is below
  CHECK(float(bfloat16(1.01171875f)) == 1.015625f);  // half way, the even side is above
  CHECK(std::isnan(float(bfloat16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST_CASE("Philox4x32-10 gives the published test vectors") {
  // Known answers of the Random123 distribution (kat_vectors).
  CHECK(Philox::generate({0, 0, 0, 0}, {0, 0}) ==
        Philox::Counter{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(Philox::generate({0xffffffffu, 0xffffffffu, 0xffffffffu, 0xffffffffu}, {0xffffffffu, 0xffffffffu}) ==
        Philox::Counter{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(Philox::generate({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Philox::Counter{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("parallel_for ends when its tasks have, with workers that come late or to a later region") {
  const int threads = num_threads();
  set_num_threads(8);  // more than most machines have: some workers are always late
  std::int64_t wrong = 0;
  for (int region = 0; region < 3000; ++region) {
    std::vector<int> calls(static_cast<std::size_t>(1 + region % 7));
    parallel_for(static_cast<std::int64_t>(calls.size()),
                 [&](std::int64_t i) { ++calls[static_cast<std::size_t>(i)]; });
    for (const int count : calls) wrong += count != 1;
  }
  CHECK(wrong == 0);
  set_num_threads(threads);
}

TEST_CASE("parallel_for calls each index once, survives exceptions, and nests") {
  for (const int threads : {1, 2, 4}) {
    set_num_threads(threads);
    std::vector<std::atomic<int>> calls(1000);
    parallel_for(1000, [&](std::int64_t i) {
      parallel_for(2, [&](std::int64_t) { calls[static_cast<std::size_t>(i)]++; });
    });
    for (const auto& count : calls) REQUIRE(count == 2);
    CHECK_THROWS_AS(parallel_for(100,
                                 [](std::int64_t i) {
                                   if (i == 57) throw ShapeError("57");
                                 }),
                    ShapeError);
    std::atomic<std::int64_t> sum = 0;
    parallel_chunks(1001, 10, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    CHECK(sum == 1001);
  }
}

TEST_CASE("Batch::from_padded drops the padding and keeps the columns as positions") {
  const std::vector<std::int32_t> ids{1, 2, 0, 0, 9, 8}, mask{1, 1, 0, 0, 1, 1};
  const Batch batch = Batch::from_padded(2, ids, mask);
  CHECK(batch.input_ids == std::vector<std::int32_t>{1, 2, 9, 8});
  CHECK(batch.segments.length(1) == 2);
  CHECK(batch.segments.positions()[2] == 1);
  CHECK_THROWS_AS(Batch::from_padded(4, ids, mask), ShapeError);
}
