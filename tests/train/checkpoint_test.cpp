#include <doctest/doctest.h>
#include <attune/backend/cpu/cpu.hpp>
#include <attune/backend/reference/reference.hpp>
#include <attune/core/file.hpp>
#include <attune/optim/adamw.hpp>
#include <attune/optim/sgd.hpp>
#include <attune/train/accumulate.hpp>
#include <attune/train/checkpoint.hpp>

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "train/tiny_run.hpp"

using namespace attune;
using namespace train_test;

namespace {

template <class F>
std::string message(const F& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

std::vector<std::string> files_in(const std::string& directory) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

TEST_CASE_TEMPLATE("a run that stops after any step and resumes has the same bits at every step", T, float,
                   bfloat16) {
  const TemporaryDirectory whole;
  const std::vector<std::vector<float>> expected = [&] {
    TinyRun<T, Cpu> run(whole.path(), 0);
    return run.train();
  }();
  REQUIRE(expected.size() == TinyRun<T, Cpu>::total_steps);
  CHECK(expected[0] != expected[1]);
  for (std::size_t stop = 0; stop <= expected.size(); ++stop) {
    CAPTURE(stop);
    const TemporaryDirectory place;
    {
      TinyRun<T, Cpu> run(place.path(), 2);
      run.train(stop);
    }
    TinyRun<T, Cpu> resumed(place.path(), 2);
    const auto loaded = resumed.resume();
    CHECK(loaded.has_value() == (stop > 0));
    if (loaded) {
      CHECK(loaded->step == stop);
      CHECK(loaded->values.at("note") == "step " + std::to_string(stop));
      CHECK(resumed.model.weights() == expected[stop - 1]);
    }
    const auto rest = resumed.train();
    REQUIRE(rest.size() == expected.size() - stop);
    for (std::size_t step = 0; step < rest.size(); ++step) CHECK(rest[step] == expected[stop + step]);
  }
}

TEST_CASE("resuming an SGD run with the average and early stopping, on the reference backend") {
  const TemporaryDirectory place;
  const auto make = [&](bool resume, int steps, std::vector<float>& averages) {
    const TinyModel<float, Reference> model{Reference{}};
    SGD optimizer(no_decay_for_biases_and_norms(model.parameters(), 0.1), {.lr = 0.1, .momentum = 0.9});
    Ema ema(model.parameters(), {.decay = 0.8});
    EarlyStopping stopping({.patience = 9});
    TrainingCheckpoints checkpoints(place.path(), model.parameters(), optimizer);
    checkpoints.add(ema);
    checkpoints.add(stopping);
    if (resume) CHECK(checkpoints.load_latest().has_value());
    const TinyDataset dataset;
    while (model.run->step < static_cast<std::uint64_t>(steps)) {
      const auto row = static_cast<std::int64_t>(model.run->step);
      optimizer.zero_grad();
      model.loss(dataset.batch(std::vector<std::int64_t>{row, row + 5, row + 2}, 0)).backward();
      optimizer.step();
      ema.update();
      stopping.update(static_cast<double>(model.run->step % 3));
    }
    {
      const EmaGuard averaged(ema);
      averages = model.weights();
      CHECK_THROWS_AS(checkpoints.save(), TrainingError);
    }
    checkpoints.save();
    {
      const EmaGuard averaged(ema);
      CHECK_THROWS_AS(checkpoints.load_latest(), TrainingError);
      CHECK(model.weights() == averages);
    }
    CHECK(stopping.best() == 2.0);
    CHECK(stopping.state().evaluations == steps);
    return model.weights();
  };
  std::vector<float> straight_average, average;
  const auto straight = make(false, 6, straight_average);
  std::filesystem::remove_all(place.path());
  make(false, 3, average);
  CHECK(make(true, 6, average) == straight);
  CHECK(average == straight_average);
}

TEST_CASE("files: names, the newest, how many stay, left-overs") {
  const TemporaryDirectory place;
  CHECK_FALSE(latest_checkpoint(place.path("nowhere")));
  CHECK_FALSE(latest_checkpoint(place.path()));
  const std::string directory = place.path("a/b");
  const TinyModel<float, Reference> model{Reference{}};
  AdamW optimizer(model.parameters());
  TrainingCheckpoints checkpoints(directory, model.parameters(), optimizer, {.keep_last = 2});
  CHECK_FALSE(checkpoints.load_latest());
  for (const std::uint64_t step : {9, 10, 100}) {
    model.run->step = step;
    CHECK(checkpoints.save() == directory + "/checkpoint-" + std::to_string(step) + ".safetensors");
  }
  CHECK(files_in(directory) ==
        std::vector<std::string>{"checkpoint-10.safetensors", "checkpoint-100.safetensors"});
  for (const char* other : {"checkpoint-200.safetensors.tmp.1.0", "checkpoint-x.safetensors", "notes.txt",
                            "checkpoint-.safetensors", "checkpoint-7"})
    write_text_file(directory + "/" + other, "x");
  CHECK(*latest_checkpoint(directory) == directory + "/checkpoint-100.safetensors");
  // Back to an earlier step: what came later belongs to another course.
  checkpoints.load(directory + "/checkpoint-10.safetensors");
  CHECK(model.run->step == 10);
  model.run->step = 11;
  checkpoints.save();
  CHECK(files_in(directory) == std::vector<std::string>{"checkpoint-.safetensors",
                                                        "checkpoint-10.safetensors",
                                                        "checkpoint-11.safetensors", "checkpoint-7",
                                                        "checkpoint-x.safetensors", "notes.txt"});
  TrainingCheckpoints all(directory, model.parameters(), optimizer, {.keep_last = 0});
  for (const std::uint64_t step : {12, 13, 14}) {
    model.run->step = step;
    all.save();
  }
  CHECK(files_in(directory).size() == 9);
  CHECK_THROWS_AS(TrainingCheckpoints(directory, model.parameters(), optimizer, {.keep_last = -1}),
                  ConfigError);
  write_text_file(place.path("file"), "x");
  CHECK_THROWS_AS(latest_checkpoint(place.path("file")), IoError);
  TrainingCheckpoints nowhere(place.path("file"), model.parameters(), optimizer);
  CHECK_THROWS_AS(nowhere.save(), IoError);
}

TEST_CASE("frozen weights: saved in their own type, or left out") {
  const TemporaryDirectory place;
  const TinyModel<bfloat16, Reference> model{Reference{}};
  auto parameters = model.parameters();
  set_trainable(parameters.items[0], false);  // words
  set_trainable(parameters.items[3], false);  // half of the head: its master stays
  AdamW optimizer(parameters, {.lr = 0.1});
  TrainingCheckpoints with(place.path("with"), parameters, optimizer);
  TrainingCheckpoints without(place.path("without"), parameters, optimizer, {.frozen_weights = false});
  const std::string saved = with.save(), small = without.save();
  const SafetensorsFile file = SafetensorsFile::open(saved);
  REQUIRE(file.find("model.words.weight"));
  CHECK(file.find("model.words.weight")->dtype == DType::bf16);
  CHECK(file.find("model.head.lower")->dtype == DType::f32);
  CHECK(file.find("model.head.upper")->dtype == DType::f32);
  CHECK_FALSE(file.find("optimizer.head.lower.exp_avg"));
  CHECK(file.find("optimizer.head.upper.exp_avg"));
  CHECK_FALSE(SafetensorsFile::open(small).find("model.words.weight"));

  const std::vector<bfloat16> words = model.words.value().to_vector();
  const std::vector<float> head = model.head.master().to_vector();
  model.words.assign(std::vector<float>(static_cast<std::size_t>(model.words.size()), 7.0f));
  model.head.assign(std::vector<float>(static_cast<std::size_t>(model.head.size()), 7.0f));
  with.load(saved);
  const std::vector<bfloat16> back = model.words.value().to_vector();
  for (std::size_t i = 0; i < words.size(); ++i) REQUIRE(back[i].bits == words[i].bits);
  CHECK(model.head.master().to_vector() == head);
  CHECK(float{model.head.value().to_vector()[0]} == float{bfloat16(head[0])});
  CHECK(contains(message([&] { with.load(small); }), "the checkpoint lacks model.words.weight"));
  CHECK(contains(message([&] { without.load(saved); }), "has model."));
}

TEST_CASE("what does not fit is refused by name, and nothing has been changed then") {
  const TemporaryDirectory place;
  TinyRun<float, Cpu> run(place.path(), 0);
  run.train(3);
  const std::string path = *latest_checkpoint(place.path());

  // Another optimizer, other groups, other parts, another dataset, another schedule.
  const auto refused = [&](const std::function<void(TrainingCheckpoints<Cpu>&, TinyModel<float, Cpu>&,
                                                    AdamW<Cpu>&)>& configure) {
    TinyModel<float, Cpu> model{Cpu{}};
    AdamW optimizer(no_decay_for_biases_and_norms(model.parameters(), 0.01), {.lr = 0.01});
    TrainingCheckpoints checkpoints(place.path(), model.parameters(), optimizer);
    const std::vector<float> before = model.weights();
    std::string text;
    configure(checkpoints, model, optimizer);
    text = message([&] { checkpoints.load(path); });
    CHECK(model.weights() == before);
    CHECK(model.run->step == 0);
    CHECK(optimizer.state().steps.at("head.lower") == 0);
    CHECK(contains(text, path));
    return text;
  };
  CHECK(contains(refused([](auto&, auto&, auto&) {}), "has schedule, this run has none"));
  const TinyDataset other{38}, dataset;
  std::optional<DataLoader> loader;
  std::optional<LrSchedule> schedule;
  const auto parts = [&](auto& checkpoints, auto& optimizer, const TinyDataset& data) {
    loader.emplace(data, RandomSampler(data.size(), 21), DataLoaderOptions{.batch_size = 4});
    schedule = cosine_schedule_with_warmup(optimizer, {.warmup_steps = 2, .total_steps = 15});
    checkpoints.add(*loader);
    checkpoints.add(*schedule);
  };
  CHECK(contains(
      refused([&](auto& checkpoints, auto&, auto& optimizer) { parts(checkpoints, optimizer, other); }),
      "DataLoader"));
  CHECK(contains(refused([&](auto& checkpoints, auto&, auto& optimizer) {
                   parts(checkpoints, optimizer, dataset);
                   schedule = constant_schedule(optimizer);
                 }),
                 "constant schedule: the state is of another schedule, cosine"));
  {
    const TinyModel<float, Cpu> model{Cpu{}};
    AdamW optimizer(model.parameters());  // one group
    TrainingCheckpoints checkpoints(place.path(), model.parameters(), optimizer);
    parts(checkpoints, optimizer, dataset);
    CHECK(contains(message([&] { checkpoints.load(path); }), "expected the state of 1 groups, found 2"));
  }
  {
    const TinyModel<float, Cpu> model{Cpu{}};
    SGD optimizer(model.parameters(), {.lr = 0.01, .momentum = 0.9});
    TrainingCheckpoints checkpoints(place.path(), model.parameters(), optimizer);
    CHECK(contains(message([&] { checkpoints.load(path); }),
                   "the checkpoint lacks optimizer.words.weight.momen"));
  }
  {
    TinyModel<bfloat16, Cpu> model{Cpu{}};
    auto parameters = model.parameters();
    set_trainable(parameters.items[0], false);
    AdamW optimizer(parameters);
    TrainingCheckpoints checkpoints(place.path(), parameters, optimizer);
    CHECK(contains(message([&] { checkpoints.load(path); }),
                   "model.words.weight: expected BF16 [23, 12], found F32"));
  }
  const TinyModel<double, Reference> wide{Reference{}};
  const TinyModel<float, Reference> narrow{Reference{}};
  AdamW optimizer(narrow.parameters());
  CHECK(contains(message([&] { TrainingCheckpoints(place.path(), wide.parameters(), optimizer); }),
                 "parameter words.weight is float64"));
}

TEST_CASE("broken files: cut short, and fields that are not what they should be") {
  const TemporaryDirectory place;
  const TinyModel<float, Reference> model{Reference{}};
  AdamW optimizer(model.parameters());
  TrainingCheckpoints checkpoints(place.path("good"), model.parameters(), optimizer);
  const std::string path = checkpoints.save({{"note", "x"}});
  const std::string bytes = read_text_file(path);
  const std::vector<float> before = model.weights();

  const std::string broken = place.path("checkpoint-1.safetensors");
  const auto load = [&](const std::string& content) {
    std::FILE* file = std::fopen(broken.c_str(), "wb");
    REQUIRE(file != nullptr);
    std::fwrite(content.data(), 1, content.size(), file);
    std::fclose(file);
    checkpoints.load(broken);
  };
  for (std::size_t size = 0; size < bytes.size(); size += (size < 2500 ? 11 : 397))
    CHECK_THROWS_AS(load(bytes.substr(0, size)), FormatError);
  CHECK_THROWS_AS(checkpoints.load(place.path("none.safetensors")), IoError);

  // Another program's safetensors file.
  save_safetensors(broken, {});
  CHECK(contains(message([&] { checkpoints.load(broken); }), "not a training checkpoint of attune"));

  // The contents, one field at a time. (Quotes are escaped: they stand inside a JSON text.)
  const SafetensorsFile good = SafetensorsFile::open(path);
  const std::string contents = good.metadata().at(detail::checkpoint_key);
  const auto with_contents = [&](const std::string& from, const std::string& to) {
    const std::size_t at = contents.find(from);
    REQUIRE(at != contents.npos);
    std::vector<SafetensorsTensor> tensors;
    for (const auto& entry : good.entries())
      tensors.push_back({entry.name, *entry.dtype, entry.shape, good.bytes(entry)});
    save_safetensors(broken, tensors,
                     {{detail::checkpoint_key, std::string(contents).replace(at, from.size(), to)}});
    return message([&] { checkpoints.load(broken); });
  };
  CHECK(with_contents("\"version\":1", "\"version\":1") == "nothing was thrown");
  CHECK(contains(with_contents("\"version\":1", "\"version\":2"), "of version 2, expected 1"));
  CHECK(contains(with_contents("\"version\":1", "\"version\":1.0"), "version is not an integer"));
  CHECK(contains(with_contents("\"version\":1", "\"other\":1"), "version is missing"));
  CHECK(contains(with_contents("\"seed\":5", "\"seed\":-5"), "seed is not an integer that fits"));
  CHECK(contains(with_contents("\"samples\":0", "\"samples\":4294967296"),
                 "samples is not an integer that fits"));
  CHECK(contains(with_contents("\"kind\":\"AdamW\"", "\"kind\":7"), "kind is not a text"));
  CHECK(contains(with_contents("\"kind\":\"AdamW\"", "\"kind\":\"Lion\""), "of another optimizer, Lion"));
  CHECK(contains(with_contents("\"words.weight\":0", "\"words.weight\":-1"), "cannot have had -1 steps"));
  CHECK(contains(with_contents("\"words.weight\":0", "\"words.weight\":[]"), "steps is not an integer"));
  CHECK(contains(with_contents("\"words.weight\":0", "\"word.weight\":0"), "lacks parameter words.weight"));
  CHECK(contains(with_contents("\"betas\":[0.9,0.999]", "\"betas\":[0.9]"), "betas is not a list of two"));
  CHECK(contains(with_contents("\"values\":{", "\"values\":[{"), "checkpoint-1.safetensors"));
  CHECK(contains(with_contents("\"note\":\"x\"", "\"note\":1"), "values is not a text"));
  CHECK(contains(with_contents("\"values\":", "\"loader\":[1,2],\"values\":"), "not a list of five"));
  CHECK(contains(with_contents("\"values\":", "\"ema_updates\":3,\"values\":"), "has weight average"));
  CHECK(contains(with_contents("\"values\":", "\"loader\":\"x\",\"values\":"), "loader is not a list"));
  CHECK(contains(with_contents("\"values\":", "\"schedule\":[],\"values\":"), "kind is missing"));
  CHECK(model.weights() == before);
}
