// SPDX-License-Identifier: Apache-2.0
// Where rank 0 of the TCP rendezvous listens: at one address, which was named.
#pragma once
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/backoff.hpp"
#include "shardwise/comm/detail/rendezvous_words.hpp"
#include "shardwise/comm/detail/socket.hpp"
#include "shardwise/comm/tcp_rendezvous_options.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// How every error of a rank's TCP rendezvous begins: 'rendezvous "name", rank 1 of 4: '.
inline std::string words_before(const tcp_rendezvous_options& job) {
  return "rendezvous \"" + printable(job.name) + "\", rank " + std::to_string(job.rank) + " of " +
         std::to_string(job.size) + ": ";
}

/// What `job.host` stands for by `lookup(host, port)`, or an error that names it. A name that is not known yet is
/// looked up until the deadline.
template <class Lookup>
std::vector<socket_address> addresses_of_host(const tcp_rendezvous_options& job, const deadline& end,
                                              const Lookup& lookup) {
  for (backoff wait(end, std::chrono::milliseconds(500));;) {
    resolved host = lookup(job.host, job.port);
    if (!host.addresses.empty()) return std::move(host.addresses);
    if (host.may_come && wait.again()) continue;
    const std::string when = host.may_come ? "' had no address within " + span_text(job.deadline) : "' has no address";
    raise(comm_error(words_before(job), "the host '", printable(job.host), when, ": ", host.failure,
                     "; see that the name is right, or give rank 0's numeric address (MASTER_ADDR)"));
  }
}
inline std::vector<socket_address> addresses_of_host(const tcp_rendezvous_options& job, const deadline& end) {
  return addresses_of_host(job, end, [](const std::string& host, int port) { return resolve(host, port); });
}

/// The addresses that rank 0 may listen at; it takes the first that is this machine's.
inline std::vector<socket_address> addresses_to_listen_at(const tcp_rendezvous_options& job, const deadline& end) {
  if (job.interface.empty()) {
    std::vector<socket_address> host = addresses_of_host(job, end);
    for (const socket_address& a : host) {
      if (!a.is_any()) continue;
      raise(comm_error(words_before(job), "the host '", printable(job.host),
                       "' is every address of a machine, and the others cannot call it: give rank 0's own address, and "
                       "name what rank 0 listens at as the interface if that is another"));
    }
    return host;
  }
  resolved numeric = resolve(job.interface, job.port, true);
  if (!numeric.addresses.empty()) return std::move(numeric.addresses);
  resolved named = addresses_of_interface(job.interface, job.port);
  if (named.addresses.empty()) {
    raise(comm_error(words_before(job), "there is no interface '", printable(job.interface), "' with an address; ",
                     named.failure));
  }
  // Of an interface with several addresses the one that the others were told, if it is among them.
  const resolved host = resolve(job.host, job.port);
  for (std::size_t i = 0; i < named.addresses.size(); ++i) {
    for (const socket_address& told : host.addresses) {
      if (named.addresses[i] == told) std::swap(named.addresses[0], named.addresses[i]);
    }
  }
  return std::move(named.addresses);
}

struct tcp_listener {
  descriptor fd = {};
  socket_address at = {};
};

/// Waits a moment for a port that is taken: a rank that calls too early may hold it that long (see `connect_to`).
inline tcp_listener listen_for_ranks(const tcp_rendezvous_options& job, const deadline& end) {
  const std::vector<socket_address> addresses = addresses_to_listen_at(job, end);
  const deadline patience(std::min<std::chrono::milliseconds>(job.deadline / 4, std::chrono::milliseconds(500)));
  for (;;) {
    int reason = EADDRNOTAVAIL;
    const socket_address* at = &addresses.front();
    for (const socket_address& a : addresses) {
      // The system takes as many waiting callers as it allows, and a crowd of strangers is no reason to turn ranks
      // away.
      if (descriptor fd = listen_at(a, 4096)) return {std::move(fd), a};
      // That one of several is another machine's, or of a family that is switched off, says nothing.
      if (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT) continue;
      reason = errno;
      at = &a;
      break;
    }
    if (reason == EADDRINUSE && !patience.passed()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      continue;
    }
    const std::string_view way_out =
        reason == EADDRINUSE ? "; another process listens there: end the earlier run, or give all ranks another port "
                               "(SHARDWISE_MASTER_PORT, MASTER_PORT)"
        : reason == EADDRNOTAVAIL
            ? "; that is no address of this machine: start rank 0 where the host is, or name the interface"
        : reason == EACCES ? "; take a port above 1023"
                           : "";
    raise(comm_error(words_before(job), "cannot listen at ", at->text(), ": ", std::string_view(std::strerror(reason)),
                     way_out));
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
