#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace attune {

/// A counted reference to bytes on a device, or to a part of them. Copies share the bytes.
/// A version counter, shared by all parts, tells whether anybody wrote in place since it was read.
template <class B>
class Storage {
 public:
  Storage() = default;
  /// Uninitialised memory. Throws DeviceError when there is none.
  Storage(B device, std::size_t bytes)
      : block_(std::make_shared<Block>(std::move(device), bytes, false)), bytes_(bytes) {}

  /// Memory that is all zero.
  static Storage zeroed(B device, std::size_t bytes) {
    Storage storage;
    storage.block_ = std::make_shared<Block>(std::move(device), bytes, true);
    storage.bytes_ = bytes;
    return storage;
  }

  explicit operator bool() const { return block_ != nullptr; }
  const B& device() const { return block_->device; }
  std::byte* data() const { return block_ ? static_cast<std::byte*>(block_->data) + offset_ : nullptr; }
  std::size_t bytes() const { return bytes_; }

  Storage slice(std::size_t offset, std::size_t bytes) const {
    Storage part = *this;
    part.offset_ += offset;
    part.bytes_ = bytes;
    return part;
  }
  /// Whether no other Storage refers to the same memory.
  bool unique() const { return holders() == 1; }
  /// How many Storages refer to this memory or to a part of it.
  long holders() const { return block_.use_count(); }
  bool shares_memory_with(const Storage& other) const { return block_ == other.block_; }

  std::uint64_t version() const { return block_ ? block_->version.load(std::memory_order_relaxed) : 0; }
  void mark_changed() const { block_->version.fetch_add(1, std::memory_order_relaxed); }

 private:
  struct Block {
    Block(B on, std::size_t size, bool zero)
        : device(std::move(on)), data(take(device, size, zero)), bytes(size) {}
    ~Block() { device.deallocate(data, bytes); }
    Block(const Block&) = delete;
    Block& operator=(const Block&) = delete;

    static void* take(const B& device, std::size_t size, bool zero) {
      if constexpr (requires { device.allocate_zeroed(size); }) {
        if (zero) return device.allocate_zeroed(size);
      }
      void* const data = device.allocate(size);
      if (zero) device.zero(data, size);
      return data;
    }

    B device;
    void* data;
    std::size_t bytes;
    std::atomic<std::uint64_t> version{0};
  };

  std::shared_ptr<Block> block_;
  std::size_t offset_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace attune
