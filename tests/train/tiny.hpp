#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <vector>

#include <attune/autograd/backward.hpp>
#include <attune/core/batch.hpp>
#include <attune/core/random.hpp>
#include <attune/loss/cross_entropy.hpp>
#include <attune/nn/dropout.hpp>
#include <attune/ops/embedding.hpp>
#include <attune/ops/linear.hpp>
#include <attune/ops/mean_pool.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace train_test {

/// A directory that goes away with this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    static std::atomic<int> counter{0};
    path_ = (std::filesystem::temp_directory_path() /
             ("attune_train_" + std::to_string(::getpid()) + "_" + std::to_string(counter++)))
                .string();
    std::filesystem::create_directories(path_);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::vector<float> noise(std::size_t count, std::uint64_t stream) {
  attune::RandomStream random(11, stream);
  std::vector<float> values(count);
  for (float& value : values) value = 0.5f * random.normal();
  return values;
}

/// Words, dropout, a hidden layer, a head; the head's two halves are rows of one state.
template <class T, class B>
struct TinyModel {
  static constexpr std::int64_t vocabulary = 23, width = 12, classes = 4;

  explicit TinyModel(const B& on) : device(on) {
    const auto fill = [](const attune::Parameter<T, B>& parameter, std::uint64_t stream) {
      const std::vector<float> values = noise(static_cast<std::size_t>(parameter.size()), stream);
      parameter.assign(std::vector<attune::Wide<T>>(values.begin(), values.end()));
    };
    fill(words, 0);
    fill(hidden, 1);
    fill(hidden_bias, 2);
    fill(head, 3);
    run->seed = 5;
  }

  attune::ParameterList<B> parameters() const {
    const auto item = [](const char* name, const attune::Parameter<T, B>& parameter) {
      return attune::NamedParameter<B>{name, parameter.state(), parameter.row_begin(), parameter.row_end()};
    };
    return {
        {item("words.weight", words), item("layer.0.weight", hidden), item("layer.0.bias", hidden_bias),
         item("head.lower", head.rows(0, classes / 2)), item("head.upper", head.rows(classes / 2, classes))},
        run};
  }

  attune::Tensor<attune::Wide<T>, B> loss(const attune::Batch& batch,
                                          const attune::CrossEntropyLossOptions& options = {}) const {
    const auto random = attune::PassRandom::draw(*run, batch.size());
    const auto keys = attune::token_keys(device, batch.segments, random.first_sample);
    auto x = attune::embedding(attune::RowIndex<B>(device, batch.input_ids), words);
    x = attune::dropout(x, attune::Dropout{drop, 1}.mask(random, keys));
    x = attune::linear(x, hidden, hidden_bias, attune::Unary::tanh);
    x = attune::mean_pool(x, attune::DeviceSegments<B>(device, batch.segments));
    return attune::cross_entropy(attune::linear(x, head), batch.labels, options);
  }

  /// The masters of all parameters, one after the other.
  std::vector<float> weights() const {
    std::vector<float> all;
    for (const auto& parameter : parameters()) {
      const std::vector<float> values = parameter.master().to_vector();
      all.insert(all.end(), values.begin(), values.end());
    }
    return all;
  }

  B device;
  float drop = 0.1f;
  attune::Parameter<T, B> words{device, {vocabulary, width}}, hidden{device, {width, width}},
      hidden_bias{device, {width}}, head{device, {classes, width}, attune::Init::zeros, 2};
  std::shared_ptr<attune::RunState> run = std::make_shared<attune::RunState>();
};

/// Rows of 1 to 6 random words; some rows have no label.
struct TinyDataset {
  std::int64_t rows = 37;

  std::int64_t size() const { return rows; }
  attune::Batch batch(std::span<const std::int64_t> wanted, std::uint64_t) const {
    attune::Batch batch;
    for (const std::int64_t row : wanted) {
      attune::RandomStream random(3, static_cast<std::uint64_t>(row));
      const auto length = static_cast<std::int32_t>(1 + random.below(6));
      for (std::int32_t i = 0; i < length; ++i)
        batch.input_ids.push_back(static_cast<std::int32_t>(random.below(23)));
      batch.segments.append(length);
      batch.labels.push_back(row % 5 == 1 ? attune::ignore_index
                                          : static_cast<std::int32_t>(random.below(4)));
      batch.rows.push_back(row);
    }
    return batch;
  }
};

}  // namespace train_test
