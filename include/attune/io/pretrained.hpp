#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/core/block_type.hpp>
#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

class CheckpointReader;

/// What loading a checkpoint found.
struct LoadReport {
  std::vector<std::string> missing;     ///< the model's parameters that the checkpoint lacks: begun anew
  std::vector<std::string> unexpected;  ///< the checkpoint's tensors that the model lacks: left alone
  std::vector<std::string> mismatched;  ///< "name: checkpoint [2, 8], model [3, 8]": begun anew
  bool complete() const { return missing.empty() && unexpected.empty() && mismatched.empty(); }
  /// A few readable lines.
  std::string to_string() const;
};

struct LoadOptions {
  std::string base_prefix{};             ///< "bert.": names are also found without it, or with it in addition
  double initializer_range = 0.02;       ///< standard deviation of what begins anew
  std::uint64_t seed = 42;               ///< of what begins anew
  bool ignore_mismatched_sizes = false;  ///< otherwise a ConfigError lists them
  std::vector<std::string>
      ignored_keys{};  ///< the checkpoint's keys that are copies or buffers; * stands for anything
  /// Opens the checkpoint; nullptr: CheckpointReader::open(). Decoders read GGUF files too
  /// (open_checkpoint()).
  CheckpointReader (*open)(const std::string& path) = nullptr;
  /// Matrices that the checkpoint holds in Q8_0, Q4_0 or Q4_1 stay so where the model may have it. A
  /// ConfigError when there are none.
  bool quantized = false;
};

namespace detail {

/// A parameter as loading sees it, whatever its backend.
struct LoadTarget {
  std::string name;
  Shape shape;
  Init init;
  std::function<void(std::span<const float>)> assign;  // set unless double
  std::function<void(std::span<const double>)> assign_double;
  std::int64_t zero_row = -1;                                                  // see ParameterState
  std::function<void(BlockType, std::span<const std::byte>)> assign_blocks{};  // set when they are wanted
};

LoadReport load_targets(const std::vector<LoadTarget>& targets, const std::string& directory,
                        const LoadOptions& options);
/// Values for a parameter that begins anew. They depend on the seed and its name alone.
void fill_anew(const LoadTarget& target, double initializer_range, std::uint64_t seed);

struct SaveSource {
  std::string name;
  DType dtype;
  Shape shape;
  std::function<void(std::byte*)> read;  // writes the elements to the host
};
void save_sources(const std::vector<SaveSource>& sources, const std::string& path);
/// Transposes a row-major matrix of elements of 2, 4 or 8 bytes in place.
void transpose_elements(std::byte* values, std::int64_t rows, std::int64_t cols, std::size_t element_size);

/// The shape under which a checkpoint holds a parameter.
template <class B>
Shape stored_shape(const NamedParameter<B>& parameter) {
  Shape shape = parameter.shape();
  if (parameter.state->stored_transposed) std::swap(shape[0], shape[1]);
  return shape;
}
/// The transpose of a row-major matrix.
template <class V>
std::vector<V> transposed_matrix(std::span<const V> values, std::int64_t rows, std::int64_t cols) {
  std::vector<V> result(values.size());
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < cols; ++c)
      result[static_cast<std::size_t>(c * rows + r)] = values[static_cast<std::size_t>(r * cols + c)];
  return result;
}

template <class W, class B>
void assign_rows(const NamedParameter<B>& parameter, std::span<const W> values) {
  ParameterState<B>& state = *parameter.state;
  const B& device = state.value.device();
  const auto count = static_cast<std::size_t>(parameter.size());
  const auto offset = static_cast<std::size_t>(parameter.offset());
  if (count == 0) return;
  if (state.master) device.upload(state.master.data() + offset * sizeof(W), values.data(), values.size_bytes());
  if constexpr (std::is_same_v<W, float>) {
    if (state.dtype == DType::bf16) {
      const std::span<bfloat16> rounded(reinterpret_cast<bfloat16*>(state.value.data()) + offset, count);
      if (state.master) {
        const auto* const master = reinterpret_cast<const float*>(state.master.data()) + offset;
        device.cast(std::span<const float>(master, count), rounded);
      } else {
        const auto uploaded = Detached<float, B>::from_values(device, {parameter.size()}, values);
        device.cast(std::span<const float>(uploaded.span()), rounded);
      }
    }
  }
  state.value.mark_changed();
}

template <class W, class B>
void assign_stored(const NamedParameter<B>& parameter, std::span<const W> values) {
  if (!parameter.state->stored_transposed) return assign_rows<W>(parameter, values);
  const Shape shape = stored_shape(parameter);
  assign_rows<W>(parameter, transposed_matrix(values, shape[0], shape[1]));
}

template <class B>
LoadTarget load_target(const NamedParameter<B>& parameter) {
  LoadTarget target{parameter.name,           stored_shape(parameter), parameter.state->init, {}, {},
                    parameter.state->zero_row};
  if (parameter.state->dtype == DType::f64)
    target.assign_double = [parameter](std::span<const double> values) {
      assign_stored<double>(parameter, values);
    };
  else
    target.assign = [parameter](std::span<const float> values) { assign_stored<float>(parameter, values); };
  return target;
}

/// The elements of a quantised parameter on the host.
template <class B>
std::vector<float> dequantized(const NamedParameter<B>& parameter) {
  const ParameterState<B>& state = *parameter.state;
  const BlockView whole{nullptr, state.shape[0], state.shape[1], *state.blocks};
  std::vector<std::byte> blocks(static_cast<std::size_t>(whole.rows * whole.row_bytes()));
  if (!blocks.empty()) state.value.device().download(blocks.data(), state.value.data(), blocks.size());
  const BlockView matrix{blocks.data(), whole.rows, whole.cols, whole.type};
  std::vector<float> values;
  for (std::int64_t row = parameter.row_begin; row < parameter.row_end; ++row)
    for (std::int64_t col = 0; col < matrix.cols; ++col)
      values.push_back(
          block_element(matrix.type, matrix.block(row, col), static_cast<int>(col % block_elements)));
  return values;
}
template <class B>
SaveSource block_source(const NamedParameter<B>& parameter) {
  return {parameter.name, DType::f32, stored_shape(parameter), [parameter](std::byte* host) {
            const std::vector<float> values = dequantized(parameter);
            std::memcpy(host, values.data(), values.size() * sizeof(float));
            const Shape shape = parameter.shape();
            if (parameter.state->stored_transposed)
              transpose_elements(host, shape[0], shape[1], sizeof(float));
          }};
}

}  // namespace detail

/// Fills parameters from a directory's checkpoint (model.safetensors, sharded or not, or pytorch_model.bin),
/// whatever its element type, legacy gamma/beta names included. Those that it lacks begin as transformers
/// begins them. Throws IoError, FormatError, or ConfigError when shapes differ or nothing of the model is in
/// the file.
template <class B>
LoadReport load_parameters(const ParameterList<B>& parameters, const std::string& directory,
                           const LoadOptions& options) {
  std::vector<detail::LoadTarget> targets;
  for (const auto& parameter : parameters) {
    targets.push_back(detail::load_target(parameter));
    if constexpr (BlockOps<B, float>)
      if (options.quantized && parameter.state->may_be_quantized && !parameter.trainable())
        targets.back().assign_blocks = [parameter](BlockType type, std::span<const std::byte> blocks) {
          assign_blocks(parameter, type, blocks);
        };
  }
  return detail::load_targets(targets, directory, options);
}

/// Fills parameters as a new model of transformers has them: normal with the given deviation, zeros and ones,
/// and zeros in the padding row of an embedding.
template <class B>
void initialize_parameters(const ParameterList<B>& parameters, double initializer_range, std::uint64_t seed) {
  for (const auto& parameter : parameters)
    detail::fill_anew(detail::load_target(parameter), initializer_range, seed);
}

/// Writes the masters (float, or double for double models; a frozen bfloat16 parameter as it is, quantised
/// blocks as float) to one safetensors file, atomically. Throws IoError.
template <class B>
void save_parameters(const ParameterList<B>& parameters, const std::string& path) {
  std::vector<detail::SaveSource> sources;
  for (const auto& parameter : parameters) {
    const ParameterState<B>& state = *parameter.state;
    if (state.blocks) {
      sources.push_back(detail::block_source(parameter));
      continue;
    }
    const bool frozen = !state.master;
    const DType dtype = frozen || state.dtype == DType::f64 ? state.dtype : DType::f32;
    const auto offset = static_cast<std::size_t>(parameter.offset()) * size_of(dtype);
    const auto bytes = static_cast<std::size_t>(parameter.size()) * size_of(dtype);
    const Storage<B> storage = (frozen ? state.value : state.master).slice(offset, bytes);
    const Shape stored = detail::stored_shape(parameter), shape = parameter.shape();
    const bool transposed = parameter.state->stored_transposed;
    sources.push_back({parameter.name, dtype, stored, [=](std::byte* host) {
                         if (bytes > 0) storage.device().download(host, storage.data(), bytes);
                         if (transposed) detail::transpose_elements(host, shape[0], shape[1], size_of(dtype));
                       }});
  }
  detail::save_sources(sources, path);
}

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/io/pretrained.inl.hpp>
#endif
