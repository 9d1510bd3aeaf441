// SPDX-License-Identifier: Apache-2.0
// One call of the TCP rendezvous: every rank tells rank 0 what it calls, and rank 0 answers when all have called the
// same.
#pragma once
#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "shardwise/comm/detail/shared_deadline.hpp"
#include "shardwise/comm/detail/tcp_link.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

inline tcp_frame frame_of(const rendezvous_call& call, std::uint32_t left_ms = 0) {
  return {.kind = call.is_barrier ? frame_kind::barrier : frame_kind::broadcast,
          .number = call.number,
          .root = call.root,
          .follow = call.bytes,
          .left_ms = left_ms};
}
/// False where the frame is of no call.
inline bool read_call(const tcp_frame& f, rendezvous_call& call) {
  call = {f.kind == frame_kind::barrier, f.root, f.follow, f.number};
  return f.kind == frame_kind::barrier || f.kind == frame_kind::broadcast;
}

/// Rank 0's half. What `call` gives is "", or why the rendezvous has failed.
class tcp_call_at_root {
 public:
  tcp_call_at_root(std::vector<tcp_link>& links, const rendezvous_call& call, std::span<std::byte> bytes,
                   std::chrono::milliseconds span)
      : links_(links), call_(call), bytes_(bytes), until_(span), requests_(links.size()) {}

  std::string run() {
    std::string failure;
    while (failure.empty() && missing() != 0) failure = hear_some();
    for (std::size_t r = 1; r < links_.size() && failure.empty(); ++r) failure = answer(links_[r]);
    return failure;
  }

 private:
  struct request {
    frame_receiver in = {};
    bool is_known = false;    ///< the frame is there, and says what rank 0 calls
    std::size_t payload = 0;  ///< what has come of the root's bytes
    bool is_complete = false;
  };

  std::size_t missing() const {
    std::size_t n = 0;
    for (std::size_t r = 1; r < links_.size(); ++r) n += requests_[r].is_complete ? 0 : 1;
    return n;
  }

  std::string hear_some() {
    if (until_.end().passed()) return absence_text();
    std::vector<::pollfd> polled;
    for (std::size_t r = 1; r < links_.size(); ++r) polled.push_back({links_[r].fd.get(), POLLIN, 0});
    if (::poll(polled.data(), static_cast<::nfds_t>(polled.size()), until_.end().left_ms()) <= 0) return "";
    for (std::size_t r = 1; r < links_.size(); ++r) {
      if (polled[r - 1].revents == 0) continue;
      std::string failure = hear(links_[r], requests_[r]);
      if (!failure.empty()) return failure;
    }
    return "";
  }

  std::string hear(const tcp_link& link, request& from) {
    if (from.is_complete) {
      // It waits for the answer, so this can only be its end.
      frame_receiver in;
      const transfer t = in.all(link.fd.get(), until_.end().or_in(std::chrono::milliseconds(100)));
      return t == transfer::late ? "" : end_text(link.rank, in);
    }
    if (!from.is_known) {
      const transfer t = from.in.some(link.fd.get());
      if (t == transfer::blocked) return "";
      rendezvous_call theirs;
      if (t == transfer::ended || !read_call(from.in.frame, theirs)) return end_text(link.rank, from.in);
      if (theirs != call_) return mismatch_text(link.rank, theirs.text(), call_.text());
      until_.hurry_for(link.rank, from.in.frame.left_ms);
      from.is_known = true;
    }
    if (link.rank == call_.root && !call_.is_barrier) {
      const transfer t = receive_some(link.fd.get(), bytes_, from.payload);
      if (t == transfer::ended) return cut_text(link.rank) + ", in " + call_.text();
      if (t == transfer::blocked) return "";
    }
    from.is_complete = true;
    return "";
  }

  std::string answer(tcp_link& link) {
    transfer t = link.send(frame_of(call_).bytes(), until_.end());
    if (t == transfer::done && link.rank != call_.root) t = link.send(bytes_, until_.end());
    if (t == transfer::done) return "";
    if (t == transfer::late) {
      return "rank " + std::to_string(link.rank) + " did not take the answer to " + call_.text() + " " + until_.text();
    }
    frame_receiver in;
    (void)in.all(link.fd.get(), until_.end().or_in(std::chrono::milliseconds(0)));
    return end_text(link.rank, in);
  }

  std::string end_text(int rank, const frame_receiver& in) const {
    std::string text = last_words_text(rank, in) + ", in " + call_.text();
    // Who gives up does not know for whom it has waited; rank 0 does.
    const bool gave_up = in.complete && in.frame.kind == frame_kind::failure;
    if (gave_up && missing() != 0) text += ", to which " + absent_text() + " had not come";
    return text;
  }
  std::string absence_text() const { return absent_text() + " did not come to " + call_.text() + " " + until_.text(); }
  std::string absent_text() const {
    std::vector<int> absent;
    for (std::size_t r = 1; r < links_.size(); ++r) {
      if (!requests_[r].is_complete) absent.push_back(links_[r].rank);
    }
    return ranks_text(absent);
  }

  std::vector<tcp_link>& links_;
  const rendezvous_call call_;
  std::span<std::byte> bytes_;
  shared_deadline until_;
  std::vector<request> requests_;
};

/// The half of the other ranks. What it gives is "", or why the rendezvous has failed.
inline std::string tcp_call_at_peer(tcp_link& root, int rank, const rendezvous_call& call, std::span<std::byte> bytes,
                                    std::chrono::milliseconds span) {
  const deadline end(span);
  const bool gives = rank == call.root && !call.is_barrier;
  // Rank 0 may have ended things since the last call; a connection that it has closed would swallow its reason.
  transfer t =
      wait_for(root.fd.get(), POLLIN, end.or_in(std::chrono::milliseconds(0))) != 0 ? transfer::spoken : transfer::done;
  if (t == transfer::done) {
    t = root.send(frame_of(call, static_cast<std::uint32_t>(end.left_ms())).bytes(), end, true);
    if (t == transfer::done && gives) t = root.send(bytes, end, true);
  }
  frame_receiver in;
  if (t != transfer::late) t = in.all(root.fd.get(), end);
  rendezvous_call theirs;
  if (t == transfer::done && read_call(in.frame, theirs)) {
    if (theirs != call) return "rank 0 answered " + theirs.text() + " where this rank called " + call.text();
    t = gives ? transfer::done : receive_all(root.fd.get(), bytes, end);
    if (t == transfer::done) return "";
    if (t == transfer::ended) return cut_text(0) + ", in " + call.text();
  }
  if (t == transfer::late) {
    return "no answer of rank 0 to " + call.text() + " within " + span_text(span) +
           ": rank 0, or a rank that it waits for, has not come";
  }
  if (in.frame.kind == frame_kind::failure && t == transfer::done) return in.text();
  return last_words_text(0, in) + ", in " + call.text();
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
