#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/nn/dropout.hpp>
#include <attune/tensor/parameter.hpp>
#include <attune/tensor/tensor.hpp>

namespace attune {

/// The rows that a layer computes just now: an adapter's dropout draws its masks by them, as the layer's own
/// do.
template <class B>
class AdapterRows {
 public:
  AdapterRows(const PassRandom& random, const RowKeys<B>& keys)
      : random_(random), keys_(keys), before_(current()) {
    current() = this;
  }
  ~AdapterRows() { current() = before_; }
  AdapterRows(const AdapterRows&) = delete;
  AdapterRows& operator=(const AdapterRows&) = delete;

  /// The mask of an adapter's dropout. Throws ConfigError in training when no layer is being computed.
  static DropoutMask<B> mask(const Dropout& dropout) {
    if (!dropout.training || dropout.probability <= 0.0f) return {};
    if (!current())
      throw ConfigError(
          "adapter: dropout works inside the layers of a model alone; set its probability to 0");
    return dropout.mask(current()->random_, current()->keys_);
  }

 private:
  static const AdapterRows*& current() {
    thread_local const AdapterRows* rows = nullptr;
    return rows;
  }

  const PassRandom& random_;
  const RowKeys<B>& keys_;
  const AdapterRows* before_;
};

/// A trainable change of what a Linear computes (see peft/lora.hpp). Virtual, so that programs without
/// adapters compile none of their code. Parameters are Wide<T>: float beside a layer of any type.
template <class T, class B>
class LinearAdapter {
 public:
  struct Part {
    std::string name;
    Parameter<Wide<T>, B> parameter;
  };

  virtual ~LinearAdapter() = default;
  /// The layer's result. y [N, M] is what its weights alone give for x [N, K]; the features of `weight` and
  /// `bias` (empty: none) are y's columns from first_column on. Writes into y.
  virtual Tensor<T, B> adapted(const Tensor<T, B>& y, const Tensor<T, B>& x, std::int64_t first_column,
                               const Parameter<T, B>& weight, const Parameter<T, B>& bias) const = 0;
  virtual std::vector<Part> parts() const = 0;

  Dropout dropout{};
};

/// The adapters of a layer. Layers that share rows of one weight share them too.
template <class T, class B>
struct LinearAdapters {
  struct Slot {
    std::string name;                 ///< of the adapter
    std::int64_t row_begin, row_end;  ///< the rows of the weight that it adapts
    bool active = true;
    std::shared_ptr<LinearAdapter<T, B>> adapter;
  };
  std::vector<Slot> slots;
};

}  // namespace attune
