#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/core/dtype.hpp>
#include <attune/core/inline.hpp>
#include <attune/core/shape.hpp>

namespace attune {

/// A tensor as the pickle of a PyTorch checkpoint describes it: a strided view of a storage that lies
/// elsewhere. Nothing about it is checked against that storage yet.
struct PickledTensor {
  std::string name;
  DType dtype = DType::f32;
  Shape shape;
  Shape strides;  // in elements
  std::int64_t storage_offset = 0;
  std::string storage;  // its key: the record "data/<key>" of the archive
  std::int64_t storage_elements = 0;
};

/// Reads the `data.pkl` of a PyTorch checkpoint: a dictionary from names to tensors, or one that holds such a
/// dictionary as "state_dict". Nothing is executed: a pickle is a program, and this interpreter knows only
/// the opcodes that build numbers, texts, tuples, lists and dictionaries, and only the globals that PyTorch
/// rebuilds tensors with. Whatever else it meets is refused by name. Steps, memo and stack are bounded.
///
/// `file` and `base` (where the pickle begins in it) are for messages. Throws FormatError.
std::vector<PickledTensor> read_torch_pickle(std::span<const std::byte> pickle, const std::string& file,
                                             std::int64_t base = 0);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/formats/pickle.inl.hpp>
#endif
