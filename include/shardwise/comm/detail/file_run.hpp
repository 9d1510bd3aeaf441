// SPDX-License-Identifier: Apache-2.0
// The shared directory of one run of the file rendezvous: what is in it, and how a rank waits for it.
#pragma once
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/comm/detail/backoff.hpp"
#include "shardwise/comm/detail/posix_file.hpp"
#include "shardwise/comm/detail/rendezvous_words.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Names that hold the run's nonce are of this run for certain: `id.go`, `id.fail`, `id.left.RANK`, and of each call
/// `id.NUMBER.RANK` (a rank's request) and `id.NUMBER` (the answer). Those of the handshake hold none.
struct file_run {
  private_directory directory = {};
  std::string id = {};     ///< rank 0's nonce; "" before the handshake
  std::string nonce = {};  ///< of this rank
  int rank = 0;
  int size = 1;
  std::string words = {};  ///< how errors begin

  std::string name(std::string_view what) const { return id + "." + std::string(what); }
  std::string left(int r) const { return name("left." + std::to_string(r)); }

  [[noreturn]] void refuse(const std::string& why) const { raise(comm_error(words, why)); }
  /// "", or why it could not be written.
  std::string try_write(const std::string& file, std::string_view head, std::span<const std::byte> body = {}) const {
    const int failed = directory.write(file, head, body, nonce);
    return failed == 0 ? "" : cannot_write(file, failed);
  }
  std::string cannot_write(const std::string& file, int failed) const {
    return "cannot write " + file + " in " + directory.path() + ": " + std::strerror(failed);
  }
  void write(const std::string& file, std::string_view head) const {
    if (const std::string why = try_write(file, head); !why.empty()) refuse(why);
  }
  /// The first reason is the one that all are told; returns it.
  std::string fail(const std::string& why) const {
    constexpr std::size_t most = 1500;
    if (id.empty()) return why;
    (void)directory.write(name("fail"), why.substr(0, most), {}, nonce, true);
    return failure().empty() ? why : failure();
  }
  /// Why the run has failed, or "".
  std::string failure() const { return id.empty() ? "" : printable(directory.read(name("fail"), 1500).value_or("")); }
};

/// Other machines' files take their time to be seen.
class file_wait : public backoff {
 public:
  explicit file_wait(const deadline& end) : backoff(end, std::chrono::milliseconds(50)) {}
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
