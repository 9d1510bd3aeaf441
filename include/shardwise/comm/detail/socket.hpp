// SPDX-License-Identifier: Apache-2.0
// Non-blocking TCP sockets whose every wait ends at a deadline. Nothing here throws or raises a signal.
#pragma once
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/comm/detail/descriptor.hpp"
#include "shardwise/comm/detail/socket_address.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

enum class transfer : unsigned char {
  done,     ///< all of it
  blocked,  ///< not now
  late,     ///< not until the deadline
  ended,    ///< the other end has closed the connection, or is gone
  spoken    ///< asked to stop for it: the other end has sent something
};

inline descriptor open_socket(int family) {
  return descriptor(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
}

/// Small messages leave at once.
inline void send_promptly(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/// Listens at `address` and nowhere else; invalid, with errno set, where that cannot be.
inline descriptor listen_at(const socket_address& address, int backlog) {
  descriptor fd = open_socket(address.family());
  if (!fd) return fd;
  const int on = 1;
  // Connections of an earlier run that the system has not forgotten do not hold the port; another listener does.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.family() == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  if (::bind(fd.get(), address.raw(), address.size) == 0 && ::listen(fd.get(), backlog) == 0) return fd;
  const int reason = errno;
  fd.reset();
  errno = reason;
  return fd;
}

/// The events of poll(2) that came, 0 at the deadline.
inline short wait_for(int fd, short events, const deadline& end) {
  for (;;) {
    ::pollfd p{fd, events, 0};
    const int n = ::poll(&p, 1, end.left_ms());
    if (n > 0) return p.revents;
    if (n == 0 && end.passed()) return 0;
    if (n < 0 && errno != EINTR) return POLLERR;
  }
}

/// A connection to `address`; invalid, with errno set, where there is none until the deadline.
inline descriptor connect_to(const socket_address& address, const deadline& end) {
  descriptor fd = open_socket(address.family());
  if (!fd) return fd;
  int reason = ::connect(fd.get(), address.raw(), address.size) == 0 ? 0 : errno;
  if (reason == EINPROGRESS || reason == EINTR) {
    reason = ETIMEDOUT;
    if (wait_for(fd.get(), POLLOUT, end) != 0) {
      ::socklen_t size = sizeof reason;
      if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &reason, &size) != 0) reason = errno;
    }
  }
  if (reason == 0) {
    // A port that nobody listens at and that the system has just lent to this very socket connects to itself.
    socket_address here, there;
    if (::getsockname(fd.get(), here.raw(), &here.size) != 0 ||
        ::getpeername(fd.get(), there.raw(), &there.size) != 0) {
      reason = errno;
    } else if (here == there) {
      const ::linger at_once{1, 0};
      ::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      reason = ECONNREFUSED;
    }
  }
  if (reason == 0) {
    send_promptly(fd.get());
    return fd;
  }
  fd.reset();
  errno = reason;
  return fd;
}

/// Reads what there is, until `into` is full at `got`.
inline transfer receive_some(int fd, std::span<std::byte> into, std::size_t& got) {
  while (got < into.size()) {
    const ::ssize_t n = ::recv(fd, into.data() + got, into.size() - got, 0);
    if (n > 0) {
      got += static_cast<std::size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? transfer::blocked : transfer::ended;
    }
  }
  return transfer::done;
}

inline transfer receive_all(int fd, std::span<std::byte> into, const deadline& end) {
  std::size_t got = 0;
  for (;;) {
    const transfer t = receive_some(fd, into, got);
    if (t != transfer::blocked) return t;
    if (end.passed() || wait_for(fd, POLLIN, end) == 0) return transfer::late;
  }
}

/// Stops with `spoken` where `listening` and the other end speaks, as it does only to end things.
inline transfer send_all(int fd, std::span<const std::byte> from, const deadline& end, bool listening = false) {
  std::size_t sent = 0;
  while (sent < from.size()) {
    const ::ssize_t n = ::send(fd, from.data() + sent, from.size() - sent, MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<std::size_t>(n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) return transfer::ended;
    if (end.passed()) return transfer::late;
    const short events = wait_for(fd, static_cast<short>(POLLOUT | (listening ? POLLIN : 0)), end);
    if (events == 0) return transfer::late;
    if (listening && (events & POLLIN) != 0) return transfer::spoken;
  }
  return transfer::done;
}

/// Closes so that what was sent last is still read: a socket that is closed over unread bytes resets the connection.
inline void close_gently(descriptor& fd) {
  if (!fd) return;
  ::shutdown(fd.get(), SHUT_WR);
  std::byte unread[4096];
  for (int i = 0; i < 16; ++i) {
    if (::recv(fd.get(), unread, sizeof unread, MSG_DONTWAIT) <= 0) break;
  }
  fd.reset();
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
