#include "models/golden.hpp"
#include "small_decoders.hpp"

#include <doctest/doctest.h>
#include <attune/attune.hpp>
#include <attune/generation/evaluate.hpp>
#include <attune/generation/generate.hpp>
#include <attune/generation/sampling.hpp>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

using namespace attune;
using namespace attune::testing;

namespace {

using Tokens = std::vector<std::int32_t>;

GenerationOptions options_of(const nlohmann::json& wanted) {
  GenerationOptions options;
  options.max_new_tokens = wanted["max_new_tokens"].get<std::int64_t>();
  options.num_beams = wanted.value("num_beams", 1);
  options.repetition_penalty = wanted.value("repetition_penalty", 1.0f);
  options.length_penalty = wanted.value("length_penalty", 1.0f);
  if (wanted.value("early_stopping", false)) options.early_stopping = BeamStop::full;
  options.eos_token_ids = wanted["eos_token_ids"].get<Tokens>();
  return options;
}

template <class Model>
void check_generations(const std::string& name) {
  CAPTURE(name);
  const std::string path = golden::root() + "/decoders/" + name;
  const auto expected = read_json(path + "/expected.json");
  Model model = Model::from_pretrained(path);
  const auto prompts = expected["prompts"].get<std::vector<Tokens>>();
  REQUIRE(prompts.size() == 3);
  REQUIRE(expected["generations"].size() == 8);
  for (const auto& wanted : expected["generations"]) {
    const auto case_name = wanted["name"].get<std::string>();
    CAPTURE(case_name);
    const auto texts = generate(model, prompts, options_of(wanted));
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      CHECK(texts[i].tokens == wanted["texts"][i].get<Tokens>());
      if (!wanted["scores"].empty())
        CHECK(texts[i].score == doctest::Approx(wanted["scores"][i].get<double>()).epsilon(1e-4));
    }
  }
  CHECK(model.training());
}

}  // namespace

TEST_CASE("generate: greedy and beam search give transformers' tokens") {
  check_generations<LlamaForCausalLM<float, Cpu>>("llama_lm");
  check_generations<LlamaForCausalLM<float, Cpu>>("llama_lm_llama3");
  check_generations<MistralForCausalLM<float, Cpu>>("mistral_lm");
  check_generations<Qwen2ForCausalLM<float, Cpu>>("qwen2_lm");
  check_generations<Qwen3ForCausalLM<float, Cpu>>("qwen3_lm");
  check_generations<Gpt2ForCausalLM<float, Cpu>>("gpt2_lm");
}

TEST_CASE("generate: log probabilities, ends and callbacks") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  const std::vector<Tokens> prompts{random_tokens(4, 1), random_tokens(7, 2)};
  const auto texts = generate(model, prompts, {.max_new_tokens = 6});
  model.eval();
  for (std::size_t i = 0; i < 2; ++i) {
    Tokens text = prompts[i];
    REQUIRE(texts[i].logprobs.size() == 6);
    CHECK(texts[i].finish_reason == FinishReason::length);
    for (std::size_t step = 0; step < 6; ++step) {
      const auto logits = model(text_batch({text}, false)).logits.to_vector();
      const auto all = log_softmax({logits.data() + logits.size() - 50, 50});
      CHECK(texts[i].tokens[step] == likeliest(all));
      CHECK(texts[i].logprobs[step] ==
            doctest::Approx(all[static_cast<std::size_t>(texts[i].tokens[step])]).epsilon(1e-3));
      text.push_back(texts[i].tokens[step]);
    }
  }
  model.train();

  const Tokens first = texts[0].tokens;
  const std::int32_t third = first[2];
  const auto before = std::find(first.begin(), first.end(), third) - first.begin();
  auto ended = generate(model, prompts, {.max_new_tokens = 6, .eos_token_ids = Tokens{third}});
  CHECK(ended[0].tokens == Tokens(first.begin(), first.begin() + before + 1));
  CHECK(ended[0].finish_reason == FinishReason::end_of_text);

  const auto decode = [](std::span<const std::int32_t> tokens) {
    std::string text;
    for (const std::int32_t token : tokens) text += std::to_string(token) + ",";
    return text;
  };
  const std::string stop = std::to_string(first[1]) + "," + std::to_string(first[2]) + ",";
  auto stopped =
      generate(model, {prompts[0]}, {.max_new_tokens = 6, .stop_strings = {stop}, .decode = decode});
  CHECK(stopped[0].finish_reason == FinishReason::stop_string);
  CHECK(decode(stopped[0].tokens).ends_with(stop));

  std::map<std::int64_t, Tokens> streamed;
  const auto listened =
      generate(model, prompts, {.max_new_tokens = 6, .on_token = [&](std::int64_t i, std::int32_t token) {
                                  streamed[i].push_back(token);
                                  return i == 1 || streamed[i].size() < 2;
                                }});
  CHECK(streamed[0] == Tokens(first.begin(), first.begin() + 2));
  CHECK(streamed[1] == texts[1].tokens);
  CHECK(listened[0].finish_reason == FinishReason::callback);
}

TEST_CASE("generate: a text depends neither on its neighbours nor on anything but the seed") {
  auto model = Gpt2ForCausalLM<float, Cpu>::from_config(small_gpt2());
  const std::vector<Tokens> prompts{random_tokens(4, 1), random_tokens(9, 2)};
  const GenerationOptions options{.max_new_tokens = 20, .do_sample = true, .temperature = 1.5f, .seed = 7};
  const auto together = generate(model, prompts, options);
  CHECK(generate(model, {prompts[0]}, options)[0].tokens == together[0].tokens);
  CHECK(generate(model, prompts, options)[1].tokens == together[1].tokens);
  GenerationOptions other = options;
  other.seed = 8;
  CHECK(generate(model, prompts, other)[0].tokens != together[0].tokens);
}

TEST_CASE("generate: what cannot be is refused") {
  auto model = Gpt2ForCausalLM<float, Cpu>::from_config(small_gpt2());
  const std::vector<Tokens> prompts{{1, 2}};
  CHECK(generate(model, {}, {}).empty());
  CHECK_THROWS_AS(generate(model, {{}}, {}), ConfigError);
  CHECK_THROWS_AS(generate(model, {{50}}, {.max_new_tokens = 2}), ConfigError);
  CHECK_THROWS_AS(generate(model, {{-1}}, {.max_new_tokens = 2}), ConfigError);
  CHECK_THROWS_WITH(
      generate(model, prompts, {.max_new_tokens = 39}),
      "generate: the model has 40 positions, and a prompt of 2 tokens with 39 new ones needs 41");
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .temperature = 0.0f}),
                    doctest::Contains("temperature"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .top_p = 0.0f}),
                    doctest::Contains("top_p"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .min_p = 1.5f}),
                    doctest::Contains("min_p"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .top_k = -1}), doctest::Contains("top_k"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 0}), doctest::Contains("max_new_tokens"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .do_sample = true, .num_beams = 2}),
                    doctest::Contains("num_beams"));
  CHECK_THROWS_WITH(generate(model, prompts, {.max_new_tokens = 2, .stop_strings = {"x"}}),
                    doctest::Contains("stop_strings"));
}

TEST_CASE("sampling: the distribution that is drawn from") {
  const std::vector<float> scores{2.0f, 1.0f, 0.0f, -1.0f, 1.0f};
  const auto probabilities = [&](const GenerationOptions& options) {
    return sampling_probabilities(scores, options);
  };
  const double e = std::exp(1.0), sum = e * e + 2 * e + 1 + 1 / e;
  const auto all = probabilities({});
  CHECK(all[0] == doctest::Approx(e * e / sum));
  CHECK(all[3] == doctest::Approx(1 / e / sum));
  CHECK(probabilities({.temperature = 0.5f})[2] / probabilities({.temperature = 0.5f})[0] ==
        doctest::Approx(std::exp(-4.0)));
  const auto two = probabilities({.top_k = 2});  // the lower id among equals
  CHECK(two[1] == doctest::Approx(1 / (1 + e)));
  CHECK(two[4] == 0.0);
  const auto nucleus = probabilities({.top_p = 0.7f});  // e^2 alone is 0.51, with the first e 0.71
  CHECK(nucleus[0] == doctest::Approx(e / (e + 1)));
  CHECK(nucleus[4] == 0.0);
  CHECK(probabilities({.top_p = 0.1f})[0] == doctest::Approx(1.0));
  const auto share = probabilities({.min_p = 0.3f});  // of e^2: e is 0.37, 1 is 0.14
  CHECK(share[4] == doctest::Approx(1 / (2 + e)));
  CHECK(share[2] == 0.0);
  const auto mixed = probabilities({.top_k = 4, .top_p = 0.95f, .min_p = 0.1f});
  CHECK(mixed[2] > 0.0);
  CHECK(mixed[3] == 0.0);

  RandomStream random(1);
  std::vector<int> counts(5);
  for (int i = 0; i < 20000; ++i) ++counts[static_cast<std::size_t>(draw_token(all, random))];
  for (std::size_t i = 0; i < 5; ++i) CHECK(counts[i] / 20000.0 == doctest::Approx(all[i]).epsilon(0.08));

  std::vector<float> penalized = scores;
  penalize_repetitions(penalized, Tokens{0, 3, 0}, 2.0f);
  CHECK(penalized == std::vector<float>{1.0f, 1.0f, 0.0f, -2.0f, 1.0f});
  CHECK_THROWS_AS(log_softmax(std::vector<float>{1.0f, NAN}), ConfigError);
}

TEST_CASE("evaluate: perplexity and accuracy as computed token by token") {
  auto model = LlamaForCausalLM<float, Cpu>::from_config(small_llama());
  const std::vector<Tokens> texts{random_tokens(6, 1), random_tokens(1, 2), random_tokens(11, 3)};
  Batch batch = text_batch(texts);
  batch.labels[3] = ignore_index;
  model.loss_options.chunk_elements = 50 * 16;  // 16 rows or fewer at a time
  const CausalLMScores scores = evaluate_causal_lm(model, batch);
  CHECK(scores.tokens == 5 + 10 - 1);
  CHECK(scores.loss() == doctest::Approx(model(batch).loss.item()).epsilon(1e-5));
  CHECK(scores.perplexity() == doctest::Approx(std::exp(scores.loss())));
  Batch unlabelled = batch;
  unlabelled.labels.clear();
  const auto logits = model(unlabelled).logits.to_vector();
  std::int64_t correct = 0;
  for (std::size_t i : {0, 1, 3, 4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16})
    correct += likeliest({logits.data() + 50 * i, 50}) == batch.input_ids[i + 1];
  CHECK(scores.correct == correct);
  CausalLMScores twice = scores;
  twice += scores;
  CHECK(twice.accuracy() == scores.accuracy());
  CHECK(twice.tokens == 2 * scores.tokens);
}
