// What users do with a decoder, on the CUDA backend against the CPU.
#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/generation/generate.hpp>
#include <attune/models/decoders.hpp>
#include <attune/peft/lora.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "generation/small_decoders.hpp"
#include "tested_device.hpp"
#include "training_runs.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

template <class T, class B>
auto small_model(const B& device) {
  return LlamaForCausalLM<T, B>::from_config(small_llama(5), device);
}

Batch three_texts() { return text_batch({random_tokens(9, 1), random_tokens(1, 2), random_tokens(14, 3)}); }

template <class T, class B>
struct LoraOutcome {
  Run run;
  std::vector<Wide<T>> logits, merged_logits;

  explicit LoraOutcome(const B& device) {
    auto model = small_model<T>(device);
    LoraConfig config;
    config.r = 4;
    config.lora_alpha = 8;
    config.lora_dropout = 0.1;
    config.target_modules = {"q_proj", "v_proj", "up_proj"};
    LoraAdapter lora(model, config);
    run = train(model, three_texts(), 3, 1);  // the first step's gradients of A are zero
    model.eval();
    Batch batch = three_texts();
    batch.labels.clear();
    logits = values(model(batch).logits);
    lora.merge();
    merged_logits = values(model(batch).logits);
  }
  template <class Logits>
  static std::vector<Wide<T>> values(const Logits& logits) {
    const auto found = logits.to_vector();
    return {found.begin(), found.end()};
  }
};

}  // namespace

TEST_CASE("Cuda: training steps of a tiny Llama equal the CPU's") {
  check_equal(train(small_model<float>(tested_device()), three_texts()),
              train(small_model<float>(Cpu()), three_texts()), float_bounds);
}

TEST_CASE("Cuda: training steps of a tiny Llama in bfloat16 are as exact as the CPU's") {
  check_as_close(train(small_model<bfloat16>(tested_device()), three_texts()),
                 train(small_model<bfloat16>(Cpu()), three_texts()),
                 train(small_model<float>(Cpu()), three_texts()));
}

TEST_CASE("Cuda: a LoRA adapter trains as on the CPU, and merges") {
  const LoraOutcome<float, Cuda> found(tested_device());
  const LoraOutcome<float, Cpu> expected{Cpu()};
  check_equal(found.run, expected.run, float_bounds);
  CHECK(relative_error(found.logits, expected.logits) < 1e-4);
  CHECK(relative_error(found.merged_logits, found.logits) < 1e-5);
}

TEST_CASE("Cuda: a LoRA adapter of a bfloat16 model trains as exactly as on the CPU, and merges") {
  const LoraOutcome<bfloat16, Cuda> found(tested_device());
  const LoraOutcome<bfloat16, Cpu> rounded{Cpu()};
  const LoraOutcome<float, Cpu> exact{Cpu()};
  check_as_close(found.run, rounded.run, exact.run);
  CHECK(relative_error(found.logits, exact.logits) <=
        2.0 * relative_error(rounded.logits, exact.logits) + bfloat16_epsilon);
  CHECK(relative_error(found.merged_logits, exact.logits) <=
        2.0 * relative_error(rounded.merged_logits, exact.logits) + bfloat16_epsilon);
}

TEST_CASE("Cuda: texts are generated through the KV cache as on the CPU: greedy, by beams, sampled") {
  auto model = small_model<float>(tested_device());
  auto on_cpu = small_model<float>(Cpu());
  const std::vector<std::vector<std::int32_t>> prompts{random_tokens(4, 1), random_tokens(7, 2)};
  for (const GenerationOptions& options :
       {GenerationOptions{.max_new_tokens = 8}, GenerationOptions{.max_new_tokens = 5, .num_beams = 3},
        GenerationOptions{.max_new_tokens = 5, .do_sample = true, .temperature = 1.5f, .seed = 7}}) {
    CAPTURE(options.num_beams);
    CAPTURE(options.do_sample);
    const auto found = generate(model, prompts, options), expected = generate(on_cpu, prompts, options);
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      CHECK(found[i].tokens == expected[i].tokens);
      CHECK(found[i].score == doctest::Approx(expected[i].score).epsilon(1e-5));
      for (std::size_t t = 0; t < expected[i].logprobs.size(); ++t)
        CHECK(found[i].logprobs.at(t) == doctest::Approx(expected[i].logprobs[t]).epsilon(1e-4));
    }
  }
}
