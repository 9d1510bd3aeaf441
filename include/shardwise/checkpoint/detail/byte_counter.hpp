// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstddef>

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Bytes that a source was asked for, counted from any thread; what owns one stays copyable and movable.
class byte_counter {
 public:
  byte_counter() = default;
  byte_counter(const byte_counter& o) noexcept : bytes_(o.value()) {}
  byte_counter& operator=(const byte_counter& o) noexcept {
    bytes_.store(o.value(), std::memory_order_relaxed);
    return *this;
  }

  void add(std::size_t n) const noexcept { bytes_.fetch_add(n, std::memory_order_relaxed); }
  std::size_t value() const noexcept { return bytes_.load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<std::size_t> bytes_{0};
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
