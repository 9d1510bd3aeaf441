// SPDX-License-Identifier: Apache-2.0
// A rendezvous over TCP: no MPI, no launcher's library, no thread. Rank 0 listens, the others call it.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/tcp_arrival.hpp"
#include "shardwise/comm/detail/tcp_calls.hpp"
#include "shardwise/comm/detail/tcp_gathering.hpp"
#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/rendezvous.hpp"
#include "shardwise/comm/tcp_rendezvous_options.hpp"

namespace shardwise {
inline namespace v0 {

/// A `rendezvous` of processes, on one machine or many. One thread at a time may use it; no call blocks past the
/// deadline, and no thread is started.
///
/// Ranks may start in any order. The constructor returns on all ranks when all have come; until then rank 0 listens at
/// one address (see `tcp_rendezvous_options::interface`), afterwards at none. It throws `comm_error` on every rank of
/// the job, with the reason, where
/// - a rank does not come in time: the error names it, and whom rank 0 has sent away meanwhile;
/// - a rank comes with another library version, world size or name, with a rank out of range or one that is taken: it
///   is told so, and the job ends, as it would wait for that rank in vain;
/// - a rank ends or is killed before all have come.
/// What comes without the job's secret (where there is no secret: without its name) is a stranger. It is told why and
/// dropped, and can neither end the start-up nor hold it up, whatever it sends or fails to send. Without a secret that
/// is as much as a guessed name is worth: set one on machines that you share. It protects rank 0 only: the other ranks
/// send it as it is to whoever listens at rank 0's address, and believe what they hear from there.
///
/// Later calls throw on every rank where ranks do not make the same calls, where one is gone, or has not come by the
/// deadline; rank 0, through which all goes, tells the others the first reason as soon as it is in a call itself. After
/// that every call throws that reason.
class tcp_rendezvous {
 public:
  explicit tcp_rendezvous(tcp_rendezvous_options options) : job_(checked(std::move(options))) {
    if (job_.size == 1) return;
    if (job_.rank == 0) {
      links_ = detail::tcp_gathering(job_).run();
    } else {
      links_.push_back(detail::tcp_arrival(job_).run());
    }
  }
  /// What a launcher has set (environment.hpp), but for what `options` says itself. Where neither names the job, its
  /// name is "shardwise".
  static tcp_rendezvous from_environment(const launch_environment& launched, tcp_rendezvous_options options = {}) {
    if (options.rank < 0) options.rank = launched.rank;
    if (options.size == 0) options.size = launched.size;
    if (options.host.empty()) options.host = launched.master_addr;
    if (options.port == 0) options.port = launched.master_port;
    if (options.name.empty()) options.name = launched.job.empty() ? "shardwise" : launched.job;
    if (options.secret.empty()) options.secret = launched.secret;
    if (options.size != 1 && (options.host.empty() || options.port == 0)) {
      detail::raise(comm_error(words_of(launched), ": nothing says where rank 0 can be reached: set ",
                               options.host.empty() ? "SHARDWISE_MASTER_ADDR (or MASTER_ADDR)" : "",
                               options.host.empty() && options.port == 0 ? " and " : "",
                               options.port == 0 ? "SHARDWISE_MASTER_PORT (or MASTER_PORT)" : "", " on all ranks"));
    }
    return tcp_rendezvous(std::move(options));
  }
  tcp_rendezvous(tcp_rendezvous&&) = default;
  tcp_rendezvous& operator=(tcp_rendezvous&& o) noexcept {
    std::swap(job_, o.job_);
    std::swap(links_, o.links_);
    std::swap(calls_, o.calls_);
    std::swap(failure_, o.failure_);
    return *this;
  }
  /// The others learn that this rank has left; nobody is waited for.
  ~tcp_rendezvous() {
    for (detail::tcp_link& link : links_) {
      if (link.fd && !failure_) link.tell(detail::frame_kind::goodbye);
      detail::close_gently(link.fd);
    }
  }

  int rank() const { return job_.rank; }
  int size() const { return job_.size; }

  void broadcast(std::span<std::byte> bytes, int root) {
    require_alive();
    if (root < 0 || root >= job_.size) {
      fail("broadcast from rank " + std::to_string(root) + ", which is no rank of this rendezvous");
    }
    call({false, root, bytes.size(), ++calls_}, bytes);
  }
  void barrier() {
    require_alive();
    call({true, 0, 0, ++calls_}, {});
  }

 private:
  static tcp_rendezvous_options checked(tcp_rendezvous_options o) {
    o.deadline = detail::require_deadline(o.deadline, "tcp_rendezvous");
    const auto refuse = [](const auto&... text) { detail::raise(comm_error("tcp_rendezvous: ", text...)); };
    if (o.size < 1 || o.rank < 0 || o.rank >= o.size) {
      refuse("rank ", o.rank, " of ", o.size, ": ranks go from 0 to size - 1");
    }
    if (o.size > 1 && (o.port < 1 || o.port > 65535)) refuse("port ", o.port, ": ports go from 1 to 65535");
    if (o.size > 1 && o.host.empty()) refuse("no host: say where rank 0 is to be reached");
    if (o.secret.size() > 256) refuse("the secret has ", o.secret.size(), " bytes; 256 are the most");
    if (o.name.size() > 128) refuse("the name has ", o.name.size(), " bytes; 128 are the most");
    return o;
  }

  void require_alive() const {
    if (failure_) detail::raise(*failure_);
  }
  void call(const detail::rendezvous_call& c, std::span<std::byte> bytes) {
    if (job_.size == 1) return;
    const std::string failure = job_.rank == 0
                                    ? detail::tcp_call_at_root(links_, c, bytes, job_.deadline).run()
                                    : detail::tcp_call_at_peer(links_.front(), job_.rank, c, bytes, job_.deadline);
    if (!failure.empty()) fail(failure);
  }
  [[noreturn]] void fail(const std::string& why) {
    failure_.emplace(detail::words_before(job_), why);
    for (detail::tcp_link& link : links_) {
      if (link.fd) link.tell(detail::frame_kind::failure, why);
    }
    detail::raise(*failure_);
  }

  tcp_rendezvous_options job_;
  std::vector<detail::tcp_link> links_;  ///< at rank 0: by rank, [0] is none; else: to rank 0
  std::uint32_t calls_ = 0;
  std::optional<comm_error> failure_;
};

static_assert(rendezvous<tcp_rendezvous>);

}  // namespace v0
}  // namespace shardwise
