// SPDX-License-Identifier: Apache-2.0
// A connection of the TCP rendezvous on which the hello has been said: frames in, frames out.
#pragma once
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/comm/detail/rendezvous_words.hpp"
#include "shardwise/comm/detail/socket.hpp"
#include "shardwise/comm/detail/tcp_wire.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

struct tcp_link {
  descriptor fd = {};
  int rank = 0;  ///< of the other end
  /// Something was sent in part, and what came after it would be taken for the rest: nothing may.
  bool is_cut = false;

  transfer send(std::span<const std::byte> bytes, const deadline& end, bool listening = false) {
    const transfer t = send_all(fd.get(), bytes, end, listening);
    is_cut = is_cut || t != transfer::done;
    return t;
  }
  /// A frame and the text after it, in one piece and as far as the system takes it at once: whoever does not read any
  /// more holds nobody up.
  void tell(frame_kind kind, std::string_view text = {}) {
    if (is_cut) {
      ::shutdown(fd.get(), SHUT_WR);
      return;
    }
    text = text.substr(0, tcp_frame::most_text);
    std::array<std::byte, tcp_frame::size + tcp_frame::most_text> both;
    const auto head = tcp_frame{.kind = kind, .follow = text.size()}.bytes();
    std::memcpy(both.data(), head.data(), head.size());
    if (!text.empty()) std::memcpy(both.data() + head.size(), text.data(), text.size());
    (void)send(std::span(both).first(head.size() + text.size()), deadline(std::chrono::milliseconds(0)));
  }
};

/// A frame that comes in pieces, and the bytes that follow it where it ends things.
class frame_receiver {
 public:
  /// `done`: `frame` is there, and `text` if it is of a kind that has one. Bytes that are no frame count as `ended`,
  /// with `garbled` set.
  transfer some(int fd) {
    const transfer t = receive_some(fd, head_, got_);
    const std::size_t known = std::min(got_, tcp_frame::magic.size());
    garbled =
        std::memcmp(head_.data(), tcp_frame::magic.data(), known) != 0 || (t == transfer::done && !frame.read(head_));
    if (garbled) return transfer::ended;
    if (t != transfer::done) return t;
    const bool worded = frame.kind == frame_kind::failure || frame.kind == frame_kind::refused;
    const transfer words =
        worded ? receive_some(fd, std::span(text_).first(static_cast<std::size_t>(frame.follow)), text_got_)
               : transfer::done;
    complete = words == transfer::done;
    return words;
  }
  transfer all(int fd, const deadline& end) {
    for (;;) {
      const transfer t = some(fd);
      if (t != transfer::blocked) return t;
      if (end.passed() || wait_for(fd, POLLIN, end) == 0) return transfer::late;
    }
  }

  /// Of a frame, or of the text after it, a part has come.
  bool is_cut() const { return got_ != 0 && !complete; }
  std::string text() const {
    return printable({reinterpret_cast<const char*>(text_.data()), static_cast<std::size_t>(frame.follow)});
  }

  tcp_frame frame = {};
  bool complete = false, garbled = false;

 private:
  std::array<std::byte, tcp_frame::size> head_{};
  std::array<std::byte, tcp_frame::most_text> text_{};
  std::size_t got_ = 0, text_got_ = 0;
};

/// How a connection ended that ended within a message. Who gives up there cannot say why: see `tcp_link::is_cut`.
inline std::string cut_text(int rank) {
  return "rank " + std::to_string(rank) +
         " is gone: its connection has ended in the middle of a message (the process was killed or crashed, or gave "
         "up)";
}
/// What becomes of the job when rank `rank` says this, or nothing more, instead of what it is waited for.
inline std::string last_words_text(int rank, const frame_receiver& in) {
  const std::string who = "rank " + std::to_string(rank);
  if (in.garbled) return who + " sent bytes that are no frame of the rendezvous";
  if (in.is_cut()) return cut_text(rank);
  if (!in.complete)
    return who + " is gone: its connection has ended without a word (the process was killed or crashed)";
  if (in.frame.kind == frame_kind::failure) return who + " gave up: " + in.text();
  if (in.frame.kind == frame_kind::goodbye) {
    return who + " has left the rendezvous (its tcp_rendezvous was destroyed) while others go on";
  }
  return who + " sent what nobody waits for (frame kind " + std::to_string(static_cast<int>(in.frame.kind)) + ")";
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
