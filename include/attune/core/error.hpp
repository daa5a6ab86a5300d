#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

namespace attune {

/// Base of everything that attune throws. Messages name the operation or file, what was expected and what was
/// found.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// An operation was given operands whose shapes do not fit.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An option, a config.json field or an argument has a value that is not allowed or not supported.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A device is missing, was not built in, or refused an operation.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// The autograd graph was misused: freed graph, changed saved tensor, no gradient to compute.
class GraphError : public Error {
 public:
  using Error::Error;
};

/// A loss or gradient is not finite, or a trainable parameter got no gradient.
class TrainingError : public Error {
 public:
  using Error::Error;
};

/// The operating system refused to open, read, write or rename a file.
class IoError : public Error {
 public:
  IoError(std::string file_name, const std::string& what)
      : Error(file_name + ": " + what), file(std::move(file_name)) {}
  std::string file;
};

/// A file's content breaks its format.
class FormatError : public Error {
 public:
  /// `offset` is the byte (or, for text formats, the line) where reading stopped; -1 when it does not apply.
  FormatError(std::string file_name, std::int64_t where, const std::string& what)
      : Error(file_name + (where >= 0 ? " at " + std::to_string(where) : std::string()) + ": " + what),
        file(std::move(file_name)),
        offset(where) {}
  std::string file;
  std::int64_t offset;
};

}  // namespace attune
