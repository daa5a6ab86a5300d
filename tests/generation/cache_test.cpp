// Logits through the cache equal those of a whole forward pass.
#include "small_decoders.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/backend/reference/reference.hpp>

#include <cmath>
#include <string>
#include <vector>

using namespace attune;
using namespace attune::testing;

namespace {

/// The logits after the last token of a text, by a forward pass over all of it.
template <class Model>
std::vector<double> whole(Model& model, const std::vector<std::int32_t>& text) {
  const auto logits = model(text_batch({text}, false)).logits.to_vector();
  return {logits.end() - model.vocab_size(), logits.end()};
}

template <class Model>
void check_rows(Model& model, const std::vector<std::vector<std::int32_t>>& texts,
                const Tensor<typename Model::value_type, typename Model::backend_type>& found,
                double tolerance) {
  const auto values = found.to_vector();
  std::size_t at = 0;
  for (const auto& text : texts)
    for (const double expected : whole(model, text))
      CHECK(std::abs(static_cast<double>(values.at(at++)) - expected) <= tolerance);
  CHECK(at == values.size());
}

template <class Model>
void check_cache(Model model, double tolerance) {
  model.eval();
  std::vector<std::vector<std::int32_t>> texts{random_tokens(5, 1), random_tokens(1, 2), random_tokens(9, 3)};
  auto cache = model.make_cache(3, 20);
  check_rows(model, texts, model.next_logits(texts, cache), tolerance);
  for (int step = 0; step < 8; ++step) {
    std::vector<std::vector<std::int32_t>> next(3);
    std::vector<std::vector<std::int32_t>> going;
    for (std::size_t i = 0; i < 3; ++i) {
      if (i == 1 && step % 3 == 1) continue;  // a sequence may rest
      next[i] = random_tokens(1, static_cast<std::uint64_t>(10 * step) + i + 4);
      texts[i].push_back(next[i][0]);
      going.push_back(texts[i]);
    }
    check_rows(model, going, model.next_logits(next, cache), tolerance);
    if (step == 4) {  // beams are copied and dropped
      cache.select(std::vector<std::int32_t>{2, 2, 0});
      texts = {texts[2], texts[2], texts[0]};
    }
    if (step == 6) {
      cache.truncate(2, 4);
      texts[2].resize(4);
    }
  }
}

}  // namespace

TEST_CASE("cache: ragged sequences, in float") {
  check_cache(LlamaForCausalLM<float, Cpu>::from_config(small_llama()), 1e-4);
  check_cache(LlamaForCausalLM<float, Cpu>::from_config(small_llama(4)), 1e-4);
  check_cache(Gpt2ForCausalLM<float, Cpu>::from_config(small_gpt2()), 1e-4);
}

TEST_CASE("cache: ragged sequences, in double") {
  check_cache(LlamaForCausalLM<double, Reference>::from_config(small_llama(3)), 1e-12);
  check_cache(Gpt2ForCausalLM<double, Reference>::from_config(small_gpt2()), 1e-12);
}

TEST_CASE("cache: a text read in pieces") {
  for (const std::int64_t window : {0, 3}) {
    auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama(window));
    model.eval();
    const auto text = random_tokens(13, 8);
    auto cache = model.make_cache(2, 16);
    std::vector<std::int32_t> read;
    for (const std::size_t piece : {4, 1, 6, 2}) {
      std::vector<std::vector<std::int32_t>> next(2);
      next[1].assign(text.begin() + static_cast<std::ptrdiff_t>(read.size()),
                     text.begin() + static_cast<std::ptrdiff_t>(read.size() + piece));
      read.insert(read.end(), next[1].begin(), next[1].end());
      check_rows(model, {read}, model.next_logits(next, cache), 1e-4);
    }
    CHECK(cache.length(0) == 0);
    CHECK(cache.length(1) == 13);
  }
}

TEST_CASE("cache: what does not fit is refused") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  auto cache = model.make_cache(2, 4);
  CHECK(cache.bytes() == 2 * 2 * 2 * 4 * 16 * 4);
  CHECK_THROWS_AS(model.next_logits({random_tokens(5, 1), {}}, cache), ConfigError);
  CHECK_THROWS_AS(model.next_logits({random_tokens(2, 1)}, cache), ShapeError);
  CHECK_THROWS_AS(model.next_logits({{}, {}}, cache), ShapeError);
  model.next_logits({random_tokens(1, 1), random_tokens(2, 1)}, cache);
  CHECK_THROWS_AS(model.next_logits({random_tokens(2, 1), random_tokens(2, 1)}, cache), ShapeError);
  CHECK_THROWS_AS(cache.select(std::vector<std::int32_t>{0}), ShapeError);
  CHECK_THROWS_AS(model.make_cache(0, 4), ConfigError);
}
