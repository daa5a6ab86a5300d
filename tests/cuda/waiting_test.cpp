// What a training step on the emulated device waits for.
#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/models/decoders.hpp>

#include <limits>

#include "generation/small_decoders.hpp"
#include "models/small_models.hpp"
#include "optim/helpers.hpp"
#include "tested_device.hpp"

using namespace attune;
using namespace attune::testing;
using namespace optim_test;

namespace {

/// Memory is kept from step to step, as on a real device: giving it back waits.
class KeptMemory {
 public:
  KeptMemory() { tested_device().context().memory().set_caching(true); }
  ~KeptMemory() {
    tested_device().release_cached_memory();
    tested_device().context().memory().set_caching(false);
  }
};

/// How often the host waits, in the third step, until the device has nothing left to do. Nothing is allocated
/// then.
template <class Model>
std::size_t waits_of_a_step(Model model, const Batch& batch, bool skip_non_finite) {
  AdamW optimizer(model.parameters(), {.lr = 1e-2, .max_grad_norm = 1.0, .skip_non_finite = skip_non_finite});
  model.train();
  std::size_t before = 0, allocations = 0;
  for (int step = 0; step < 3; ++step) {
    before = cuda_emulation::drains();
    allocations = tested_device().memory_stats().system_allocations;
    optimizer.zero_grad();
    model(batch).loss.backward();
    optimizer.step();
  }
  CHECK(tested_device().memory_stats().system_allocations == allocations);
  return cuda_emulation::drains() - before;
}

}  // namespace

TEST_CASE("Cuda: a training step waits for nothing, or once to see whether gradients are finite") {
  const KeptMemory kept;
  const BertConfig bert = small_config(0.1);
  const Batch sentences = random_batch({7, 1, 12, 5});
  const LlamaConfig llama = small_llama(5);
  const Batch texts = text_batch({random_tokens(9, 1), random_tokens(1, 2), random_tokens(14, 3)});
  const Cuda device = tested_device();
  for (const bool skip : {true, false}) {
    CAPTURE(skip);
    const std::size_t allowed = skip ? 0 : 1;
    CHECK(waits_of_a_step(BertForSequenceClassification<float, Cuda>::from_config(bert, device), sentences,
                          skip) == allowed);
    CHECK(waits_of_a_step(LlamaForCausalLM<bfloat16, Cuda>::from_config(llama, device), texts, skip) ==
          allowed);
  }
}

TEST_CASE("Cuda: steps that are skipped are counted when the next begins") {
  const Cuda device = tested_device();
  const auto weight = parameter<float>(device, {2}, {1, 2});
  AdamW optimizer(list<Cuda>({named("weight", weight)}), {.lr = 0.1, .skip_non_finite = true});
  for (const bool broken : {false, true, true, false}) {
    optimizer.zero_grad();
    give_grad(weight, {broken ? std::numeric_limits<float>::infinity() : 1.0f, 1.0f});
    optimizer.step();
  }
  CHECK(optimizer.skipped_steps() == 2);
  CHECK(optimizer.state().steps.at("weight") == 2);
}
