// SPDX-License-Identifier: Apache-2.0
// Ports that are free, and raw peers that say what they like.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <thread>

#include "rendezvous_support.hpp"
#include "shardwise/comm/tcp_rendezvous.hpp"

namespace rendezvous_test {

/// A port that no one else is given while this lives: bound, so that the kernel lends it to nobody, and not listened
/// at.
class held_port {
 public:
  explicit held_port(int family = AF_INET) : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const int on = 1;
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    at_.bytes.ss_family = static_cast<sa_family_t>(family);
    at_.size = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
    if (family == AF_INET6) at_.v6().sin6_addr = in6addr_loopback;
    if (family == AF_INET) at_.v4().sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd_.get(), at_.raw(), at_.size) != 0) std::abort();
    if (::getsockname(fd_.get(), at_.raw(), &at_.size) != 0) std::abort();
  }
  int number() const { return at_.port(); }
  const sw::detail::socket_address& address() const { return at_; }
  /// From now on somebody listens who has nothing to do with us.
  void listen() { (void)::listen(fd_.get(), 16); }
  int fd() const { return fd_.get(); }

 private:
  sw::detail::descriptor fd_;
  sw::detail::socket_address at_;
};

inline sw::tcp_rendezvous_options options_of(int rank, int size, int port, milliseconds deadline) {
  return {.rank = rank,
          .size = size,
          .host = "127.0.0.1",
          .port = port,
          .name = "job",
          .secret = "open sesame",
          .deadline = deadline};
}

/// Where ranks meet: for rendezvous_suite.hpp.
struct tcp_place {
  held_port port = held_port();
  sw::tcp_rendezvous meet(int rank, int size, milliseconds deadline) const {
    return sw::tcp_rendezvous(options_of(rank, size, port.number(), deadline));
  }
};
inline tcp_place new_port() { return {}; }

/// A connection that says what it is told to say.
class raw_peer {
 public:
  /// Waits for someone to listen.
  explicit raw_peer(const sw::detail::socket_address& to, milliseconds patience = std::chrono::seconds(20)) {
    const sw::detail::deadline end(patience);
    while (!fd_ && !end.passed()) {
      fd_ = sw::detail::connect_to(to, end);
      if (!fd_) std::this_thread::sleep_for(milliseconds(1));
    }
  }
  void say(std::span<const std::byte> bytes) const {
    (void)sw::detail::send_all(fd_.get(), bytes, sw::detail::deadline(milliseconds(2000)));
  }
  void say(std::string_view text) const { say(std::as_bytes(std::span(text))); }
  /// The next frame, with its text if it has one; "" where there is none.
  std::string hears() const {
    sw::detail::frame_receiver in;
    const auto t = in.all(fd_.get(), sw::detail::deadline(std::chrono::seconds(20)));
    if (t != sw::detail::transfer::done) return "";
    const bool worded =
        in.frame.kind == sw::detail::frame_kind::refused || in.frame.kind == sw::detail::frame_kind::failure;
    return worded ? in.text() : "frame " + std::to_string(static_cast<int>(in.frame.kind));
  }
  void leave() { fd_.reset(); }

 private:
  sw::detail::descriptor fd_;
};

inline void meet(const sw::tcp_rendezvous_options& options) { sw::tcp_rendezvous(options).barrier(); }

/// Rank 0 of 2 waits in vain for rank 1, and `visit(address)` comes instead: what rank 0 is told.
template <class F>
std::string rank0_is_told(milliseconds deadline, F visit) {
  const held_port port;
  return told_ranks(2, [&](int r) {
    if (r == 0) return meet(options_of(0, 2, port.number(), deadline));
    visit(port.address());
  })[0];
}

inline sw::detail::tcp_hello hello_of(int rank, int size) {
  return {.secret = sw::detail::wire_text<256>("open sesame"),
          .ranks = size,
          .rank = rank,
          .left_ms = 20000,
          .name = sw::detail::wire_text<128>("job")};
}

}  // namespace rendezvous_test
