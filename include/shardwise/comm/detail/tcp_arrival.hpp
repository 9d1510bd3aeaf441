// SPDX-License-Identifier: Apache-2.0
// The start-up of the TCP rendezvous at the ranks above 0: each calls rank 0 until it answers.
#pragma once
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/backoff.hpp"
#include "shardwise/comm/detail/tcp_link.hpp"
#include "shardwise/comm/detail/tcp_listen.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A rank may start before rank 0 does: what has no address yet, cannot be reached, or ends the connection without an
/// answer, is called again until the deadline. A refusal, or an answer that no rank 0 gives, ends the start-up at once.
class tcp_arrival {
 public:
  explicit tcp_arrival(const tcp_rendezvous_options& job)
      : job_(job), end_(job.deadline), addresses_(addresses_of_host(job, end_)) {}

  /// Returns when all ranks have come: the connection to rank 0.
  tcp_link run() {
    for (backoff wait(end_, std::chrono::milliseconds(200));;) {
      for (const socket_address& address : addresses_) {
        tcp_link link;
        if (try_at(address, link)) {
          wait_for_start(link);
          return link;
        }
        if (end_.passed()) fail_of_absence();
      }
      if (!wait.again() || end_.passed()) fail_of_absence();
    }
  }

 private:
  bool try_at(const socket_address& address, tcp_link& link) {
    const std::string at = address.text();
    // One address of several that swallows all packets must leave time for the others.
    link.fd = connect_to(address, addresses_.size() == 1 ? end_ : end_.or_in(std::chrono::seconds(2)));
    if (!link.fd) {
      last_ = at + ": " + std::strerror(errno);
      return false;
    }
    const tcp_hello hello{.secret = wire_text<256>(job_.secret),
                          .ranks = job_.size,
                          .rank = job_.rank,
                          .left_ms = static_cast<std::uint32_t>(end_.left_ms()),
                          .name = wire_text<128>(job_.name)};
    frame_receiver in;
    const transfer said = send_all(link.fd.get(), hello.bytes(), end_, true);
    const transfer heard = said == transfer::late ? transfer::late : in.all(link.fd.get(), end_);
    if (heard == transfer::late) {
      raise(comm_error(words_before(job_), "what listens at ", at, " did not answer to the hello within ",
                       span_text(job_.deadline),
                       ": it is not rank 0, or rank 0 hangs; see that no other program has "
                       "the port"));
    }
    if (in.garbled ||
        (heard == transfer::done && in.frame.kind != frame_kind::accepted && in.frame.kind != frame_kind::refused)) {
      raise(comm_error(words_before(job_), "what listens at ", at,
                       " is no rank 0 of shardwise: its answer is garbage; see that no other program has the port"));
    }
    if (heard == transfer::ended) {
      last_ = at + ": the connection was ended without an answer";
      return false;
    }
    if (in.frame.kind == frame_kind::refused) {
      raise(comm_error(words_before(job_), "refused by rank 0 at ", at, ": ", in.text()));
    }
    return true;
  }

  void wait_for_start(tcp_link& link) {
    frame_receiver in;
    const transfer t = in.all(link.fd.get(), end_);
    if (t == transfer::done && in.frame.kind == frame_kind::start) return;
    if (t == transfer::late) {
      const std::string why = "not all ranks came within " + span_text(job_.deadline);
      link.tell(frame_kind::failure, why);
      raise(comm_error(words_before(job_), why, "; rank 0 was there, and knows which it waits for"));
    }
    if (t == transfer::done && in.frame.kind == frame_kind::failure) {
      raise(comm_error(words_before(job_), "rank 0 has ended the start-up: ", in.text()));
    }
    raise(comm_error(words_before(job_), last_words_text(0, in), "; not all ranks had come yet"));
  }

  [[noreturn]] void fail_of_absence() {
    raise(comm_error(words_before(job_), "rank 0 could not be reached at '", printable(job_.host), "', port ",
                     job_.port, ", within ", span_text(job_.deadline), ": ", last_,
                     "; see that rank 0 runs there (MASTER_ADDR, MASTER_PORT) and listens at that address"));
  }

  const tcp_rendezvous_options& job_;
  deadline end_;
  std::vector<socket_address> addresses_;
  std::string last_ = "no attempt was made";
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
