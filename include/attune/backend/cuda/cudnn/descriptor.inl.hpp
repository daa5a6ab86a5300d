#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/backend/cuda/cudnn/api.inl.hpp>

namespace attune::cuda::cudnn {

/// What cuDNN calls the type of an attribute that is set from values like these.
constexpr auto attribute_type(const std::int64_t*) { return CUDNN_TYPE_INT64; }
constexpr auto attribute_type(const bool*) { return CUDNN_TYPE_BOOLEAN; }
constexpr auto attribute_type(const char*) { return CUDNN_TYPE_CHAR; }
constexpr auto attribute_type(const cudnnHandle_t*) { return CUDNN_TYPE_HANDLE; }
constexpr auto attribute_type(const cudnnBackendDescriptor_t*) { return CUDNN_TYPE_BACKEND_DESCRIPTOR; }
constexpr auto attribute_type(const cudnnDataType_t*) { return CUDNN_TYPE_DATA_TYPE; }
constexpr auto attribute_type(const cudnnPointwiseMode_t*) { return CUDNN_TYPE_POINTWISE_MODE; }
constexpr auto attribute_type(const cudnnReduceTensorOp_t*) { return CUDNN_TYPE_REDUCTION_OPERATOR_TYPE; }
constexpr auto attribute_type(const cudnnBackendHeurMode_t*) { return CUDNN_TYPE_HEUR_MODE; }
constexpr auto attribute_type(const cudnnBackendNumericalNote_t*) { return CUDNN_TYPE_NUMERICAL_NOTE; }

/// Owns a descriptor of the backend API. Set the attributes, finalize, use; a finalized one never changes.
class Descriptor {
 public:
  /// `what` names it in errors.
  Descriptor(const Api& api, cudnnBackendDescriptorType_t type, std::string what)
      : api_(&api), what_(std::move(what)) {
    api.check(api.create(type, &raw_), "create " + what_);
  }
  Descriptor(Descriptor&& other) noexcept
      : api_(other.api_), what_(std::move(other.what_)), raw_(std::exchange(other.raw_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(what_, other.what_);
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Descriptor() {
    if (raw_) api_->destroy(raw_);
  }

  cudnnBackendDescriptor_t raw() const { return raw_; }
  const std::string& what() const { return what_; }

  template <class V>
  Descriptor& set(cudnnBackendAttributeName_t name, const V& value) {
    return set_many(name, attribute_type(&value), 1, &value);
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) { return set(name, value.raw_); }
  template <class V>
  Descriptor& set(cudnnBackendAttributeName_t name, std::span<const V> values) {
    return set_many(name, attribute_type(values.data()), values.size(), values.data());
  }
  /// Pointers to memory: void* is also what a descriptor is, so these have a name of their own.
  Descriptor& set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> pointers) {
    return set_many(name, CUDNN_TYPE_VOID_PTR, pointers.size(), pointers.data());
  }

  /// Throws CudnnError when the library refuses it.
  Descriptor& finalize() {
    api_->check(api_->finalize(raw_), "finalize " + what_);
    return *this;
  }
  /// For what may rightly be refused.
  cudnnStatus_t try_finalize() { return api_->finalize(raw_); }

  template <class V>
  V get(cudnnBackendAttributeName_t name) const {
    V value{};
    std::int64_t found = 0;
    api_->check(api_->get_attribute(raw_, name, attribute_type(&value), 1, &found, &value),
                "read " + label(name));
    return value;
  }
  /// At most `most` values.
  template <class V>
  std::vector<V> get_list(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<V> values(static_cast<std::size_t>(most));
    std::int64_t found = 0;
    api_->check(api_->get_attribute(raw_, name, attribute_type(values.data()), most, &found, values.data()),
                "read " + label(name));
    values.resize(static_cast<std::size_t>(std::min(found, most)));
    return values;
  }
  /// Fills descriptors that exist already, as the library wants it for descriptors. Returns how many.
  std::int64_t get_into(cudnnBackendAttributeName_t name, std::span<Descriptor> targets) const {
    std::vector<cudnnBackendDescriptor_t> pointers;
    for (const Descriptor& target : targets) pointers.push_back(target.raw_);
    std::int64_t found = 0;
    const auto most = static_cast<std::int64_t>(pointers.size());
    api_->check(api_->get_attribute(raw_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, most, &found, pointers.data()),
                "read " + label(name));
    return std::min(found, most);
  }

 private:
  std::string label(cudnnBackendAttributeName_t name) const {
    return "attribute " + std::to_string(static_cast<int>(name)) + " of " + what_;
  }
  Descriptor& set_many(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::size_t count,
                       const void* values) {
    api_->check(api_->set_attribute(raw_, name, type, static_cast<std::int64_t>(count), values),
                "set " + label(name));
    return *this;
  }

  const Api* api_;
  std::string what_;
  cudnnBackendDescriptor_t raw_ = nullptr;
};

}  // namespace attune::cuda::cudnn
