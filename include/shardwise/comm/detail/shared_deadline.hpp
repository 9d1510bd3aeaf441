// SPDX-License-Identifier: Apache-2.0
// Until when one rank waits for others for the sake of all.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/comm/detail/rendezvous_words.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The deadline of who decides for all, and how it is told: its own, until a rank says that it will wait less long.
class shared_deadline {
 public:
  explicit shared_deadline(std::chrono::milliseconds span) : span_(span), end_(span) {}
  const deadline& end() const { return end_; }

  /// Rank `rank` waits for `left_ms` more.
  void hurry_for(int rank, std::uint32_t left_ms) {
    if (end_.hurry_for(left_ms)) hurried_for_ = rank;
  }
  /// "within 60 s", "within 938 ms, before rank 1's deadline"
  std::string text() const {
    if (hurried_for_ < 0) return "within " + span_text(span_);
    const auto passed = std::chrono::ceil<std::chrono::milliseconds>(deadline::clock::now() - began_);
    return "within " + span_text(passed) + ", before rank " + std::to_string(hurried_for_) + "'s deadline";
  }

 private:
  const std::chrono::milliseconds span_;
  const deadline::clock::time_point began_ = deadline::clock::now();
  deadline end_;
  int hurried_for_ = -1;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
