// Attention by cuDNN on the emulated device against the CPU: what the graphs mean, computed by the
// interpreter.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <attune/backend/cpu/cpu.hpp>

#include "attention_runs.hpp"
#include "cudnn/stand_in.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;
using namespace attune::testing::attention_runs;
namespace cudnn = attune::cuda::cudnn;

namespace {

/// The emulated device with plans for an architecture, while it lives.
class Planned {
 public:
  explicit Planned(int architecture, const std::function<void(cudnn::Api&)>& change = {})
      : device(tested_device()) {
    std::string why_not;
    auto plans = stand_in_plans(architecture, why_not, change);
    if (!plans) {
      MESSAGE("skipped: ", why_not);
      return;
    }
    ready = plans.get();
    cudnn::PlansOfDevices::instance().replace(0, std::move(plans));
    device.context().allow_cudnn(true);
  }
  ~Planned() {
    device.context().allow_cudnn(false);
    cudnn::PlansOfDevices::instance().replace(0, nullptr);
  }

  const Cuda device;
  cudnn::AttentionPlans* ready = nullptr;
};

/// Sequences in rows that the longest one needs, the rest NaN, by a padded plan itself.
Results run_padded(const Planned& planned, const Case& c) {
  const std::int64_t batch = static_cast<std::int64_t>(c.lengths.size()),
                     length = *std::max_element(c.lengths.begin(), c.lengths.end()), q = c.width(),
                     kv = c.kv_width(), all = q + 2 * kv;
  const Segments segments = Segments::from_lengths(c.lengths);
  const auto padded = [&](const auto& values, std::int64_t cols) {
    auto result = std::vector(static_cast<std::size_t>(batch * length * cols), values[0]);
    std::fill(result.begin(), result.end(), std::numeric_limits<float>::quiet_NaN());
    for (std::int64_t b = 0, row = 0; b < batch; ++b)
      for (std::int64_t i = 0; i < c.lengths[static_cast<std::size_t>(b)]; ++i, ++row)
        std::copy_n(values.begin() + row * cols, cols, result.begin() + (b * length + i) * cols);
    return result;
  };
  const auto packed = [&](const auto& values, std::int64_t cols) {
    std::remove_cvref_t<decltype(values)> result;
    for (std::int64_t b = 0; b < batch; ++b)
      result.insert(result.end(), values.begin() + b * length * cols,
                    values.begin() + (b * length + c.lengths[static_cast<std::size_t>(b)]) * cols);
    return result;
  };
  cudnn::AttentionProblem problem;
  problem.causal = c.causal;
  problem.storage = cudnn::Storage::padded;
  problem.batch = batch;
  problem.query_length = problem.key_length = length;
  problem.heads = c.heads;
  problem.kv_heads = c.kv_heads;
  problem.head_size = c.head_size;
  problem.q_stride = problem.k_stride = problem.v_stride = all;
  problem.y_stride = q;
  problem.lse_stride = c.heads;
  const cudnn::Plan* forward = planned.ready->find(problem);
  problem.backward = true;
  problem.dy_stride = q;
  problem.dq_stride = problem.dk_stride = problem.dv_stride = all;
  const cudnn::Plan* backward = planned.ready->find(problem);
  REQUIRE(forward);
  REQUIRE(backward);

  const std::int64_t tokens = segments.tokens(), rows = batch * length;
  const Array<std::int32_t, Cuda> lengths(planned.device, c.lengths);
  const Array<bfloat16, Cuda> qkv(planned.device, padded(random_values(tokens * all, 1), all)),
      dy(planned.device, padded(random_values(tokens * q, 2), q)),
      y(planned.device, std::vector<bfloat16>(static_cast<std::size_t>(rows * q))),
      gradients(planned.device, std::vector<bfloat16>(static_cast<std::size_t>(rows * all)));
  const Array<float, Cuda> lse(planned.device, std::vector<float>(static_cast<std::size_t>(rows * c.heads))),
      delta(planned.device, std::vector<float>(static_cast<std::size_t>(rows * c.heads)));
  const Array<char, Cuda> workspace(
      planned.device, std::vector<char>(std::max(forward->workspace_bytes(), backward->workspace_bytes())));
  float scale = options_of(c).scale, hidden = -INFINITY, one = 1.0f;
  namespace uid = cudnn::uid;
  std::vector<cudnn::Plan::Binding> bindings{{uid::q, qkv.data()},
                                             {uid::k, qkv.data() + q},
                                             {uid::v, qkv.data() + q + kv},
                                             {uid::y, y.data()},
                                             {uid::lse, lse.data()},
                                             {uid::scale, &scale},
                                             {uid::hidden, &hidden},
                                             {uid::query_lengths, lengths.data()},
                                             {uid::key_lengths, lengths.data()}};
  planned.ready->api().set_stream(interpreter_handle(), planned.device.context().stream());
  forward->execute(interpreter_handle(), bindings, workspace.data());
  bindings.insert(bindings.end(), {{uid::dy, dy.data()},
                                   {uid::dq, gradients.data()},
                                   {uid::dk, gradients.data() + q},
                                   {uid::dv, gradients.data() + q + kv},
                                   {uid::one, &one},
                                   {uid::delta, delta.data()}});
  backward->execute(interpreter_handle(), bindings, workspace.data());
  return {packed(y.values(), q), packed(gradients.values(), all), packed(lse.values(), c.heads)};
}

/// The installed library passes for another version: what attune asks of it depends on that.
template <std::size_t Version>
void pass_for(cudnn::Api& api) {
  api.version = [] { return Version; };
}

}  // namespace

TEST_CASE("cuDNN: graphs over ragged rows are planned for sm_90 and mean attention and its gradients") {
  Planned planned(90);
  if (!planned.ready) return;
  for_each_case({5, 0, 1, 50}, [&](const Case& c) {
    const int before = executed_plans();
    const Results found = run(planned.device, c);
    CHECK(executed_plans() == before + 2);
    check_equal(found, run(Cpu(), c));
  });
}

TEST_CASE(
    "cuDNN: graphs over ragged rows are planned for sm_80, forward; the backward goes to the own kernel") {
  Planned planned(80, pass_for<92600>);
  if (!planned.ready) return;
  for_each_case({5, 0, 1, 50}, [&](const Case& c) {
    const int before = executed_plans();
    const Results found = run(planned.device, c);
    CHECK(executed_plans() == before + 1);
    check_equal(found, run(Cpu(), c));
  });
}

TEST_CASE(
    "cuDNN: graphs over padded rows are planned for sm_80 and sm_90 and mean attention and its gradients") {
  for (const int architecture : {80, 90}) {
    CAPTURE(architecture);
    Planned planned(architecture);
    if (!planned.ready) return;
    for_each_case({5, 43, 1}, [&](const Case& c) { check_equal(run_padded(planned, c), run(Cpu(), c)); });
  }
}

TEST_CASE("cuDNN: sequences of one length take padded plans where ragged ones are not to be had") {
  const Case c{{24, 24, 24}, 4, 2, 64, true};
  const auto executed = [&](int architecture, const auto& change) {
    Planned planned(architecture, change);
    if (!planned.ready) return -1;
    const int before = executed_plans();
    check_equal(run(planned.device, c), run(Cpu(), c));
    return executed_plans() - before;
  };
  const int found = executed(80, pass_for<92600>);
  if (found < 0) return;
  CHECK(found == 2);
  CHECK(executed(80, pass_for<92599>) == 1);  // the forward: the backward would misread the log-sum-exp
  CHECK(executed(90, pass_for<92599>) == 2);  // ragged
  // Sequences of different lengths: neither.
  Planned planned(80, pass_for<92599>);
  const Case ragged{{24, 7}, 4, 2, 64, true};
  const int before = executed_plans();
  check_equal(run(planned.device, ragged), run(Cpu(), ragged));
  CHECK(executed_plans() == before);
}

TEST_CASE("cuDNN: the backward passes over engines that say they are not deterministic") {
  static decltype(&cudnnBackendGetAttribute) honest;
  Planned planned(90, [](cudnn::Api& api) {
    honest = std::exchange(
        api.get_attribute, [](cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                              cudnnBackendAttributeType_t type, int64_t most, int64_t* found, void* values) {
          if (name != CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) return honest(d, name, type, most, found, values);
          *static_cast<cudnnBackendNumericalNote_t*>(values) = CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
          *found = 1;
          return CUDNN_STATUS_SUCCESS;
        });
  });
  if (!planned.ready) return;
  const int before = executed_plans();
  const Case c{{20, 12}, 2, 2, 64, true};
  check_equal(run(planned.device, c), run(Cpu(), c));
  CHECK(executed_plans() == before + 1);  // the forward has one order anyway
  CHECK(planned.ready->why_not().find(" of them not deterministic") != std::string::npos);
}

TEST_CASE("cuDNN: plans are made for rounded sizes and used again") {
  CHECK(cudnn::bucketed(0, 4) == 0);
  CHECK(cudnn::bucketed(1, 4) == 4);
  CHECK(cudnn::bucketed(33, 4) == 36);
  CHECK(cudnn::bucketed(65, 4) == 72);
  CHECK(cudnn::bucketed(64, 64) == 64);
  CHECK(cudnn::bucketed(65, 64) == 128);
  CHECK(cudnn::bucketed(2049, 64) == 2304);
  const auto made = [](const auto& change) {
    Planned planned(90, change);
    if (!planned.ready) return std::size_t{0};
    const std::size_t before = planned.ready->size();
    for (const std::vector<std::int32_t>& lengths :
         {std::vector<std::int32_t>{33}, {17, 64}, {1, 2, 0, 40}}) {
      const Case c{lengths, 2, 2, 32, false};
      check_equal(run(planned.device, c), run(Cpu(), c));
    }
    return planned.ready->size() - before;
  };
  const std::size_t rounded = made(pass_for<92500>);
  if (rounded == 0) return;
  CHECK(rounded == 2);                // forward and backward
  CHECK(made(pass_for<92400>) == 6);  // lengths are rounded, numbers of sequences are not
}

TEST_CASE("cuDNN: what it cannot do goes to the own kernels") {
  Planned planned(90);
  if (!planned.ready) return;
  const int before = executed_plans();
  const Case odd{{9, 4}, 2, 2, 20, false};  // rows of 40 bytes
  check_equal(run(planned.device, odd), run(Cpu(), odd));
  const Case wide{{9, 4}, 1, 1, 136, false};
  check_equal(run(planned.device, wide), run(Cpu(), wide));
  planned.device.context().allow_cudnn(false);
  const Case usual{{9, 4}, 2, 2, 32, false};
  check_equal(run(planned.device, usual), run(Cpu(), usual));
  CHECK(executed_plans() == before);

  // Dropout, a window, an offset, and queries whose sequence has no keys.
  planned.device.context().allow_cudnn(true);
  const Array<std::int32_t, Cuda> offsets(planned.device, {0, 3, 5}), others(planned.device, {0, 0, 5}),
      positions(planned.device, {0, 1, 2, 0, 1});
  const Array<bfloat16, Cuda> x(planned.device, random_values(5 * 64, 3)),
      y(planned.device, random_values(5 * 64, 4));
  const Array<float, Cuda> lse(planned.device, std::vector<float>(10));
  const auto takes = [&](const auto& change) {
    AttentionOptions options = options_of(usual);
    options.query_segments = options.key_segments = {offsets.data(), 2, 5, 3, positions.data()};
    change(options);
    const MatrixView<const bfloat16> in = x.matrix(64);
    return cudnn::attention(planned.device.context(), in, in, in, options, y.matrix(64), lse.matrix(2));
  };
  CHECK(takes([](AttentionOptions&) {}));
  CHECK_FALSE(takes([&](AttentionOptions& o) {
    o.dropout = {0.1f, {1, 2}, 0, positions.data(), positions.data()};
  }));
  CHECK_FALSE(takes([](AttentionOptions& o) { o.window = 2; }));
  CHECK_FALSE(takes([](AttentionOptions& o) { o.query_offset = 1; }));
  CHECK_FALSE(takes([&](AttentionOptions& o) {
    o.key_segments = {others.data(), 2, 5, 5, positions.data()};
  }));
  planned.device.synchronize();
}

TEST_CASE("cuDNN: without a device it says so, and attention uses the own kernels") {
  const Cuda device = tested_device();
  cudnn::PlansOfDevices::instance().forget(0);
  device.context().allow_cudnn(true);
  const int before = executed_plans();
  const Case c{{9, 4}, 2, 2, 32, true};
  check_equal(run(device, c), run(Cpu(), c));
  CHECK(executed_plans() == before);
  CHECK(cudnn::describe(device.context()).find("cuda: cuDNN") == 0);
  device.context().allow_cudnn(false);
}

TEST_CASE("cuDNN: errors name what was refused") {
  std::string why_not;
  const cudnn::Api* api = stand_in_api(why_not);
  if (!api) {
    MESSAGE("skipped: ", why_not);
    return;
  }
  cudnn::Descriptor tensor(*api, CUDNN_BACKEND_TENSOR_DESCRIPTOR, "nameless tensor");
  CHECK_THROWS_WITH_AS(tensor.finalize(),
                       doctest::Contains("cuDNN: finalize nameless tensor: CUDNN_STATUS_BAD_PARAM"),
                       cudnn::CudnnError);
  CHECK_THROWS_WITH_AS(tensor.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT),
                       doctest::Contains("cuDNN: set attribute 1500 of nameless tensor"), cudnn::CudnnError);
  Planned planned(90);
  if (!planned.ready) return;
  cudnn::AttentionProblem impossible = simplest_problem();
  impossible.head_size = 20;
  impossible.q_stride = impossible.k_stride = impossible.v_stride = impossible.y_stride = 40;
  CHECK(planned.ready->find(impossible) == nullptr);
  CHECK(planned.ready->why_not().find("cuDNN: no plan") != std::string::npos);
}
