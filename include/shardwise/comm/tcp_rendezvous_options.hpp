// SPDX-License-Identifier: Apache-2.0
// What a rank has to know to meet the others over TCP.
#pragma once
#include <chrono>
#include <string>

namespace shardwise {
inline namespace v0 {

/// `rank` and `interface` are a rank's own; the rest must be the same on all ranks.
struct tcp_rendezvous_options {
  int rank = -1;
  int size = 0;
  /// Where rank 0 is: a numeric address, or a name. A name is looked up with getaddrinfo, which no deadline bounds:
  /// prefer an address. One that is not known yet is looked up again until the deadline.
  std::string host = {};
  int port = 0;  ///< 1 to 65535
  /// Of the job, or of the communicator that is made: at most 128 bytes. Keeps apart two jobs that were given one port.
  std::string name = {};
  /// At most 256 bytes, the same for all ranks of the job, and known to nobody else: from_environment takes it from
  /// SHARDWISE_JOB_SECRET. It keeps stray jobs, and strangers who come to rank 0, out; no more. The other ranks do not
  /// check rank 0: whoever listens at `host` and `port` in its place learns the secret, and is believed. Nor is it
  /// encryption: whoever can read the network's traffic can read the secret and all that is broadcast.
  std::string secret = {};
  /// Rank 0 listens at this address and at no other: the name of a network interface ("lo", "eth0") or a numeric
  /// address. Empty: at the address that `host` stands for. "0.0.0.0" and "::" listen everywhere, if you say so here.
  std::string interface = {};
  /// Of the whole start-up, and of each later call.
  std::chrono::milliseconds deadline = std::chrono::seconds(60);
};

}  // namespace v0
}  // namespace shardwise
