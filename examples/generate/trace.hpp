// SPDX-License-Identifier: Apache-2.0
// When each rank was in which collective, in Chrome's trace format: for chrome://tracing and ui.perfetto.dev.
#pragma once
#include <fmt/format.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/comm/observer.hpp"

namespace generate {
namespace sw = shardwise;

namespace detail {
/// `text` as it stands between the quotes of a JSON string.
inline std::string json_text(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}
}  // namespace detail

/// An observer of one rank that writes each collective down, a line of JSON each. Times are of the steady clock, which
/// all processes of a machine share; ranks on different machines are not lined up.
class trace {
 public:
  /// The part of the run that the next collectives are in; what was before the first is not written down.
  void in_phase(std::string_view name) { phase_ = name; }

  void begin(const sw::collective_event&) { since_ = now(); }
  void end(const sw::collective_event& e) {
    if (phase_.empty()) return;
    const std::int64_t took = now() - since_;
    fmt::format_to(std::back_inserter(lines_),
                   ",\n{{\"name\": \"{}\", \"cat\": \"{}\", \"ph\": \"X\", \"pid\": 0, \"tid\": {}, \"ts\": {}, "
                   "\"dur\": {}, \"args\": {{\"module\": \"{}\", \"bytes\": {}}}}}",
                   sw::name_of(e.op), phase_, e.rank, microseconds(since_), microseconds(took),
                   detail::json_text(e.module), e.bytes);
  }

  const std::string& lines() const { return lines_; }

 private:
  static std::int64_t now() {
    const auto t = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration_cast<std::chrono::nanoseconds>(t).count();
  }
  static std::string microseconds(std::int64_t ns) { return fmt::format("{}.{:03}", ns / 1000, ns % 1000); }

  std::string_view phase_;
  std::int64_t since_ = 0;
  std::string lines_;
};

/// The whole file, of the lines of each rank: a process with a row for each.
inline std::string trace_file(std::span<const std::string> lines_of_ranks) {
  std::string text = fmt::format(
      "{{\"displayTimeUnit\": \"ns\", \"traceEvents\": [\n"
      "{{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 0, \"tid\": 0, \"args\": {{\"name\": \"generate, tp "
      "{}\"}}}}",
      lines_of_ranks.size());
  for (std::size_t r = 0; r < lines_of_ranks.size(); ++r) {
    text += fmt::format(
        ",\n{{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": 0, \"tid\": {0}, \"args\": {{\"name\": \"rank "
        "{0}\"}}}}"
        ",\n{{\"name\": \"thread_sort_index\", \"ph\": \"M\", \"pid\": 0, \"tid\": {0}, \"args\": "
        "{{\"sort_index\": {0}}}}}",
        r);
  }
  for (const std::string& lines : lines_of_ranks) text += lines;
  return text + "\n]}\n";
}

}  // namespace generate
