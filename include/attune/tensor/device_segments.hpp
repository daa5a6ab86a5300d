#pragma once

#include <cstdint>
#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/segments.hpp>
#include <attune/tensor/detached.hpp>

namespace attune {

/// Segments copied to a device.
template <class B>
class DeviceSegments {
 public:
  DeviceSegments() = default;
  DeviceSegments(const B& device, const Segments& segments)
      : offsets_(upload(device, segments.offsets())),
        positions_(upload(device, segments.positions())),
        view_{offsets_.data(), segments.count(), segments.tokens(), segments.max_length(),
              positions_.data()} {}

  const SegmentsView& view() const { return view_; }
  std::int64_t count() const { return view_.count; }
  std::int64_t tokens() const { return view_.tokens; }
  const Detached<std::int32_t, B>& positions() const { return positions_; }

 private:
  static Detached<std::int32_t, B> upload(const B& device, std::span<const std::int32_t> values) {
    return Detached<std::int32_t, B>::from_values(device, {static_cast<std::int64_t>(values.size())}, values);
  }

  Detached<std::int32_t, B> offsets_;
  Detached<std::int32_t, B> positions_;
  SegmentsView view_;
};

}  // namespace attune
