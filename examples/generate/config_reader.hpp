// SPDX-License-Identifier: Apache-2.0
// Fields of a config.json, checked: what the engine does not know is refused by name, as it would be silently wrong.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "shardwise/checkpoint/config.hpp"

namespace generate {
namespace sw = shardwise;

/// Reads one section of a config.json.
class config_reader {
 public:
  config_reader(const sw::checkpoint::config& c, std::string section) : config_(c), section_(std::move(section)) {}

  std::size_t size(std::string_view field) const { return checked(field, config_.required_integer(section_, field)); }
  std::size_t size(std::string_view field, std::size_t otherwise) const {
    const auto n = config_.integer(section_, field);
    return n ? checked(field, *n) : otherwise;
  }
  double number(std::string_view field, double otherwise) const {
    return config_.number(section_, field).value_or(otherwise);
  }
  bool flag(std::string_view field) const { return config_.boolean(section_, field).value_or(false); }
  std::string text(std::string_view field, std::string_view otherwise) const {
    return std::string(config_.text(section_, field).value_or(otherwise));
  }
  bool has(std::string_view field) const {
    return config_.state(section_, field) == sw::checkpoint::field_state::present;
  }
  bool null(std::string_view field) const {
    return config_.state(section_, field) == sw::checkpoint::field_state::null;
  }
  config_reader below(std::string_view field) const {
    return {config_, section_.empty() ? std::string(field) : section_ + "." + std::string(field)};
  }
  const sw::checkpoint::config& file() const { return config_; }
  const std::string& section() const { return section_; }

  [[noreturn]] void refuse(std::string_view field, std::string_view is, std::string_view known) const {
    throw sw::checkpoint_error(config_.where(), ": '", section_, section_.empty() ? "" : ".", field, "' is ", is,
                               ", and this engine knows only ", known);
  }
  void only(std::string_view field, std::string_view known) const {
    if (const std::string is = text(field, known); is != known) refuse(field, is, known);
  }
  void not_true(std::string_view field) const {
    if (flag(field)) refuse(field, "true", "false");
  }
  void absent(std::string_view field) const {
    if (has(field)) refuse(field, "there", "models without it");
  }

 private:
  std::size_t checked(std::string_view field, std::int64_t n) const {
    if (n < 1 || n > (std::int64_t{1} << 40)) refuse(field, std::to_string(n), "positive sizes");
    return static_cast<std::size_t>(n);
  }

  const sw::checkpoint::config& config_;
  std::string section_;
};

}  // namespace generate
