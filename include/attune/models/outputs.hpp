#pragma once

#include <attune/tensor/tensor.hpp>

namespace attune {

/// What a model with a head returns: the loss (empty when the batch has no labels) and the logits, [B,
/// num_labels] for sequences, [N, num_labels] or [N, V] for tokens.
template <class T, class B>
struct ModelOutput {
  Tensor<Wide<T>, B> loss;
  Tensor<T, B> logits;
};

/// What an encoder without a head returns.
template <class T, class B>
struct EncoderOutput {
  Tensor<T, B> last_hidden_state;  ///< [N, C]
  Tensor<T, B> pooler_output;      ///< [B, C]; empty when the model has no pooler
};

}  // namespace attune
