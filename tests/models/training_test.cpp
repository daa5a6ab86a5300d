// Packing, micro-batches, checkpointing, pooled rows, bfloat16, threads, memory: the same numbers by other
// ways.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <limits>
#include <thread>

#include "golden.hpp"
#include "small_models.hpp"

using namespace attune;
using attune::testing::part_of;
using attune::testing::random_batch;
using attune::testing::small_config;

namespace {

using Model = BertForSequenceClassification<float, Cpu>;
using Gradients = std::map<std::string, std::vector<float>>;

template <class M>
Gradients gradients_of(const M& model) {
  Gradients gradients;
  for_each_parameter(model, [&](const std::string& name, const auto& p) {
    if (p.grad()) gradients[name] = p.grad().to_vector();
  });
  return gradients;
}
template <class M>
void forget(const M& model) {
  for_each_parameter(model, [](const std::string&, const auto& p) { p.zero_grad(); });
}

double relative_error(const std::vector<float>& found, const std::vector<float>& expected) {
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference += std::pow(double{found[i]} - double{expected[i]}, 2);
    size += std::pow(double{expected[i]}, 2);
  }
  return std::sqrt(difference / size);
}
/// The largest over all parameters but attention's key biases, whose gradients are zero in theory.
double relative_error(const Gradients& found, const Gradients& expected) {
  REQUIRE(found.size() == expected.size());
  double largest = 0.0;
  for (const auto& [name, gradient] : expected)
    if (name.find("key.bias") == name.npos)
      largest = std::max(largest, relative_error(found.at(name), gradient));
  return largest;
}

}  // namespace

TEST_CASE("training: a packed batch equals its padded form bit for bit, masks included") {
  // Right padding, left padding and holes: [B, 6], 0 in the mask is no token.
  const std::vector<std::int32_t> ids{5, 6, 7, 0, 0, 0, /**/ 9, 9, 1, 2, 3, 4, /**/ 8, 9, 7, 1, 4, 2};
  const std::vector<std::int32_t> mask{1, 1, 1, 0, 0, 0, /**/ 0, 0, 1, 1, 1, 1, /**/ 1, 0, 1, 1, 0, 1};
  const std::vector<std::int32_t> types{0, 1, 1, 0, 0, 0, /**/ 1, 1, 0, 0, 1, 1, /**/ 0, 0, 1, 1, 1, 0};
  Batch padded = Batch::from_padded(3, ids, mask, types);
  Batch packed;
  packed.input_ids = {5, 6, 7, 1, 2, 3, 4, 8, 7, 1, 2};
  packed.token_type_ids = {0, 1, 1, 0, 0, 1, 1, 0, 1, 1, 0};
  packed.segments.append(3);
  packed.segments.append(std::vector<std::int32_t>{2, 3, 4, 5});
  packed.segments.append(std::vector<std::int32_t>{0, 2, 3, 5});
  padded.labels = packed.labels = {0, 2, 1};
  const auto run = [](const Batch& batch) {
    Model model = Model::from_config(small_config(0.2));
    const auto output = model(batch);
    output.loss.backward();
    return std::pair(output.logits.to_vector(), gradients_of(model));
  };
  CHECK(run(padded) == run(packed));

  // What stands under the padding does not count, and neither does how much padding there is.
  std::vector<std::int32_t> wider_ids, wider_mask, wider_types;
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 9; ++column) {
      const std::size_t at = static_cast<std::size_t>(row * 6 + column);
      wider_ids.push_back(column < 6 && mask[at] ? ids[at] : 33);
      wider_mask.push_back(column < 6 ? mask[at] : 0);
      wider_types.push_back(column < 6 ? types[at] : 1);
    }
  Batch wider = Batch::from_padded(3, wider_ids, wider_mask, wider_types);
  wider.labels = packed.labels;
  CHECK(run(wider) == run(packed));
  packed.segments = Segments::from_lengths(std::vector<std::int32_t>{3, 4, 4});  // other positions do count
  CHECK(run(padded) != run(packed));
}

TEST_CASE("training: micro-batches draw the masks of the big batch") {
  const Batch batch = random_batch({7, 3, 12, 5, 9, 1});
  const auto run = [&](const std::vector<std::int64_t>& cuts, bool count) {
    Model model = Model::from_config(small_config(0.2));
    for (std::size_t i = 0; i + 1 < cuts.size(); ++i) {
      if (!count) model.run_state()->samples = 0;
      const Batch part = part_of(batch, cuts[i], cuts[i + 1]);
      (model(part).loss * (float(part.size()) / float(batch.size()))).backward();
    }
    return gradients_of(model);
  };
  const Gradients whole = run({0, 6}, true);
  CHECK(run({0, 6}, true) == whole);
  for (const auto& cuts :
       std::vector<std::vector<std::int64_t>>{{0, 3, 6}, {0, 1, 2, 3, 4, 5, 6}, {0, 5, 6}}) {
    // Sums in another order.
    CHECK(relative_error(run(cuts, true), whole) < 1e-5);
    CHECK(relative_error(run(cuts, false), whole) > 0.05);  // masks of other samples
  }
}

TEST_CASE("training: a step and a seed change the masks, a repetition does not") {
  const Batch batch = random_batch({7, 3});
  Model model = Model::from_config(small_config(0.2));
  const auto logits = [&](std::uint64_t seed, std::uint64_t step) {
    model.set_seed(seed);
    model.run_state()->step = step;
    model.run_state()->samples = 0;
    return model(batch).logits.to_vector();
  };
  const auto first = logits(1, 0);
  CHECK(logits(1, 0) == first);
  CHECK(logits(2, 0) != first);
  CHECK(logits(1, 1) != first);
  CHECK(model(batch).logits.to_vector() != first);  // the next samples of the same step
  model.eval();
  const auto plain = logits(1, 0);
  CHECK(logits(2, 5) == plain);
  CHECK(plain != first);
}

TEST_CASE("training: gradient checkpointing gives identical gradients with dropout, and keeps less") {
  const Batch batch = random_batch({7, 3, 12, 30});
  const auto run = [&](bool checkpointing, bool eval_between) {
    Model model = Model::from_config(small_config(0.2));
    model.gradient_checkpointing = checkpointing;
    const auto before = Cpu::memory_stats().current;
    const auto output = model(batch);
    const auto kept = Cpu::memory_stats().current - before;
    if (eval_between) {  // a look at a development set before backward
      model.eval();
      model(batch);
      model.train();
      model.eval();
    }
    output.loss.backward();
    return std::pair(gradients_of(model), kept);
  };
  const auto plain = run(false, false);
  const auto checkpointed = run(true, false);
  CHECK(checkpointed.first == plain.first);
  CHECK(checkpointed.second < plain.second / 2);
  CHECK(run(true, true).first == plain.first);

  // Token-level heads, and an encoder that is frozen below.
  const auto tokens = [&](bool checkpointing) {
    auto model = BertForTokenClassification<float, Cpu>::from_config(small_config(0.2));
    model.freeze_layers(1);
    model.gradient_checkpointing = checkpointing;
    Batch labelled = batch;
    labelled.labels.assign(batch.input_ids.size(), 1);
    labelled.labels[3] = ignore_index;
    model(labelled).loss.backward();
    return gradients_of(model);
  };
  CHECK(tokens(true) == tokens(false));
}

TEST_CASE("training: computing the pooled rows alone equals computing all") {
  const Batch batch = random_batch({7, 1, 12, 30});
  const attune::testing::TemporaryDirectory directory;
  Model model = Model::from_config(small_config(0.3));
  model.save_pretrained(directory.path());
  auto bare = BertModel<float, Cpu>::from_pretrained(directory.path());
  model.eval();
  bare.eval();
  const auto short_way = model(batch).logits.to_vector();
  const auto output = bare(batch);
  const auto long_way = model.head.classifier(output.pooler_output).to_vector();
  CHECK(output.last_hidden_state.shape() == Shape{50, 32});
  REQUIRE(short_way.size() == long_way.size());
  for (std::size_t i = 0; i < short_way.size(); ++i) CHECK(std::abs(short_way[i] - long_way[i]) < 1e-5f);

  // In training both ways drop the same.
  model.train();
  const auto input =
      make_encoder_input(Cpu(), batch, PassRandom::draw(*model.run_state(), batch.size()), true, 0);
  const auto first = model.encoder.first_states(input, false).to_vector();
  const auto picked = gather_rows(model.encoder.states(input, false), input.pass.picked).to_vector();
  for (std::size_t i = 0; i < first.size(); ++i) CHECK(std::abs(first[i] - picked[i]) < 1e-5f);
}

TEST_CASE("training: bfloat16 stays close to float") {
  const std::string path = golden::case_path("bert_cls_gelu");
  const Batch batch = golden::Expected(path).batch();
  auto in_float = Model::from_pretrained(path);
  auto in_bfloat16 = BertForSequenceClassification<bfloat16, Cpu>::from_pretrained(path);
  const auto a = in_float(batch);
  const auto b = in_bfloat16(batch);
  static_assert(std::is_same_v<decltype(b.loss), Tensor<float, Cpu>>);
  // Each of the two layers rounds eight tensors on the way, embeddings and head five more, all of size about
  // 1; errors add up as random numbers do (6 standard deviations), and a logit averages 32 of them with the
  // classifier's weights.
  double squares = 0.0;
  for (const float w : in_float.head.classifier.weight.value().to_vector()) squares += double{w} * double{w};
  const double bound = 6.0 * std::sqrt(2 * 8 + 5.0) * 0x1p-8 * std::sqrt(squares / 3);
  double largest = 0.0, size = 0.0;
  const auto x = a.logits.to_vector();
  const auto y = b.logits.to_vector();
  for (std::size_t i = 0; i < x.size(); ++i) {
    largest = std::max(largest, std::abs(double{x[i]} - double(float(y[i]))));
    size = std::max(size, std::abs(double{x[i]}));
  }
  CAPTURE(size);
  CHECK(largest < bound);
  CHECK(largest > 0.0);
  CHECK(std::abs(a.loss.item() - b.loss.item()) < bound);

  a.loss.backward();
  b.loss.backward();
  const Gradients exact = gradients_of(in_float), rounded = gradients_of(in_bfloat16);
  // A gradient collects the roundings of the way there and back.
  const double error = relative_error(rounded, exact);
  CHECK(error < 6.0 * std::sqrt(2 * 8 + 5.0) * 0x1p-8 * std::sqrt(2.0));
  CHECK(error > 1e-4);
}

TEST_CASE("training: a model in eval() may be called from many threads") {
  Model model = Model::from_config(small_config(0.2));
  model.eval();
  std::vector<Batch> batches;
  std::vector<std::vector<float>> expected;
  for (std::uint64_t i = 0; i < 6; ++i) {
    batches.push_back(random_batch({7, static_cast<std::int32_t>(i + 1), 12}, i));
    expected.push_back(model(batches.back()).logits.to_vector());
  }
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < 24; ++i) {
        const std::size_t which = (i + t) % batches.size();
        const NoGradGuard guard;
        if (model(batches[which]).logits.to_vector() != expected[which]) ++wrong[t];
      }
    });
  for (auto& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4, 0));
}

TEST_CASE("training: after the first steps a step takes nothing from the system") {
  Model model = Model::from_config(small_config(0.1));
  AdamW optimizer(model.parameters(), {.lr = 1e-4});
  const std::vector<Batch> batches{random_batch({30, 12, 7}, 1), random_batch({5, 30, 14}, 2)};
  std::size_t after_warm_up = 0;
  for (int step = 0; step < 12; ++step) {
    optimizer.zero_grad();
    model(batches[static_cast<std::size_t>(step % 2)]).loss.backward();
    optimizer.step();
    if (step == 3) after_warm_up = Cpu::memory_stats().system_allocations;
  }
  CHECK(after_warm_up > 0);
  CHECK(Cpu::memory_stats().system_allocations == after_warm_up);
}

TEST_CASE("training: the same bits for 1 to 4 threads over three steps with dropout") {
  BertConfig config = small_config(0.1);
  config.hidden_size = 64;
  config.intermediate_size = 128;
  const Batch batch = random_batch(std::vector<std::int32_t>(24, 37));
  const auto run = [&](auto type, int threads) {
    set_num_threads(threads);
    auto model = BertForSequenceClassification<decltype(type), Cpu>::from_config(config);
    AdamW optimizer(model.parameters(), {.lr = 1e-3});
    std::vector<float> result;
    for (int step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      const auto output = model(batch);
      result.push_back(output.loss.item());
      output.loss.backward();
      result.push_back(optimizer.clip_grad_norm(1.0));
      optimizer.step();
    }
    for_each_parameter(model, [&](const std::string&, const auto& p) {
      const auto values = p.master().to_vector();
      result.insert(result.end(), values.begin(), values.end());
    });
    return result;
  };
  const int before = num_threads();
  const auto check = [&](auto type) {
    const auto single = run(type, 1);
    for (int threads = 2; threads <= 4; ++threads) {
      CAPTURE(threads);
      CHECK(run(type, threads) == single);
    }
  };
  check(float());
  check(bfloat16());
  set_num_threads(before);
}

TEST_CASE("training: batches that do not fit are refused") {
  Model model = Model::from_config(small_config());
  const Batch good = random_batch({3, 4});
  const auto refuses = [&](const char* part, const auto& change) {
    Batch batch = good;
    change(batch);
    std::string message;
    try {
      model(batch);
    } catch (const Error& error) {
      message = error.what();
    }
    CAPTURE(message);
    CHECK(message.find(part) != message.npos);
  };
  refuses("no tokens", [](Batch& b) { b = Batch(); });
  refuses("token_type_ids", [](Batch& b) { b.token_type_ids.pop_back(); });
  refuses("input_ids", [](Batch& b) { b.input_ids.push_back(1); });
  refuses("sequence 2", [](Batch& b) {
    b.segments.append(0);
    b.labels.push_back(0);
  });
  refuses("labels", [](Batch& b) { b.labels.pop_back(); });
  refuses("label", [](Batch& b) { b.labels[0] = 3; });
  refuses("id", [](Batch& b) { b.input_ids[0] = 50; });
  refuses("negative", [](Batch& b) { b.input_ids[0] = -1; });
  refuses("id", [](Batch& b) { b.token_type_ids[0] = 2; });
  refuses("2147483647", [](Batch& b) { b.input_ids[0] = std::numeric_limits<std::int32_t>::max(); });
  refuses("41", [](Batch& b) { b = random_batch({41}); });  // more positions than the model has
  CHECK_NOTHROW(model(good));
}

TEST_CASE("training: a sequence without tokens is refused by every head") {
  Batch batch = random_batch({3, 4});
  batch.segments.append(0);
  batch.labels.clear();
  CHECK_THROWS_WITH_AS((BertForSentenceEmbedding<float, Cpu>::from_config(small_config())(batch)),
                       "batch: sequence 2 has no tokens", ShapeError);
  CHECK_THROWS_AS((BertForTokenClassification<float, Cpu>::from_config(small_config())(batch)), ShapeError);
}
