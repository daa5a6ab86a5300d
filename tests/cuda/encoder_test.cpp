// What users do with an encoder, on the CUDA backend against the CPU.
#include <doctest/doctest.h>
#include <attune/attune.hpp>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "models/small_models.hpp"
#include "tested_device.hpp"
#include "training_runs.hpp"

using namespace attune;
using namespace attune::testing;

namespace {

template <class T, class B>
using Classifier = BertForSequenceClassification<T, B>;

template <class T, class B>
Run train_classifier(const B& device, bool checkpointed = false) {
  auto model = Classifier<T, B>::from_config(small_config(0.1), device);
  model.gradient_checkpointing = checkpointed;
  return train(model, random_batch({7, 1, 12, 5}));
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  REQUIRE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("Cuda: training steps of a tiny BERT equal the CPU's, dropout included") {
  check_equal(train_classifier<float>(tested_device()), train_classifier<float>(Cpu()), float_bounds);
}

TEST_CASE("Cuda: training steps of a tiny BERT in bfloat16 are as exact as the CPU's") {
  check_as_close(train_classifier<bfloat16>(tested_device()), train_classifier<bfloat16>(Cpu()),
                 train_classifier<float>(Cpu()));
}

TEST_CASE("Cuda: activation checkpointing changes no bit, dropout included") {
  const Run whole = train_classifier<float>(tested_device());
  const Run checkpointed = train_classifier<float>(tested_device(), true);
  CHECK(checkpointed.losses == whole.losses);
  CHECK(checkpointed.gradients == whole.gradients);
  CHECK(checkpointed.parameters == whole.parameters);
}

TEST_CASE("Cuda: save_pretrained writes what the CPU writes, and each loads the other's") {
  const Batch batch = random_batch({7, 1, 12, 5});
  const TemporaryDirectory place;
  const std::string first = place.path() + "/cuda", second = place.path() + "/cpu";
  auto model = Classifier<float, Cuda>::from_config(small_config(0.1), tested_device());
  train(model, batch, 1);
  model.eval();
  model.save_pretrained(first);

  auto on_cpu = Classifier<float, Cpu>::from_pretrained(first);
  on_cpu.eval();
  const auto logits = on_cpu(batch).logits.to_vector();
  CHECK(relative_error(model(batch).logits.to_vector(), logits) < 1e-5);
  on_cpu.save_pretrained(second);
  for (const char* file : {"/config.json", "/model.safetensors"}) {
    CAPTURE(file);
    CHECK(bytes_of(first + file) == bytes_of(second + file));
  }

  auto again = Classifier<float, Cuda>::from_pretrained(second, {}, tested_device());
  again.eval();
  CHECK(again(batch).logits.to_vector() == model(batch).logits.to_vector());
}
