// SPDX-License-Identifier: Apache-2.0
// Addresses of TCP endpoints: out of names, out of interfaces, and as text.
#pragma once
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace shardwise {
inline namespace v0 {
namespace detail {

struct socket_address {
  ::sockaddr_storage bytes{};
  ::socklen_t size = sizeof(::sockaddr_storage);

  ::sockaddr* raw() { return reinterpret_cast<::sockaddr*>(&bytes); }
  const ::sockaddr* raw() const { return reinterpret_cast<const ::sockaddr*>(&bytes); }
  int family() const { return bytes.ss_family; }
  ::sockaddr_in& v4() { return reinterpret_cast<::sockaddr_in&>(bytes); }
  const ::sockaddr_in& v4() const { return reinterpret_cast<const ::sockaddr_in&>(bytes); }
  ::sockaddr_in6& v6() { return reinterpret_cast<::sockaddr_in6&>(bytes); }
  const ::sockaddr_in6& v6() const { return reinterpret_cast<const ::sockaddr_in6&>(bytes); }

  int port() const { return ntohs(family() == AF_INET6 ? v6().sin6_port : v4().sin_port); }
  void set_port(int port) {
    (family() == AF_INET6 ? v6().sin6_port : v4().sin_port) = htons(static_cast<std::uint16_t>(port));
  }
  /// Reached from this machine only?
  bool is_loopback() const {
    if (family() == AF_INET6) return IN6_IS_ADDR_LOOPBACK(&v6().sin6_addr);
    return ntohl(v4().sin_addr.s_addr) >> 24 == 127;
  }
  /// "every address of this machine"?
  bool is_any() const {
    if (family() == AF_INET6) return IN6_IS_ADDR_UNSPECIFIED(&v6().sin6_addr);
    return v4().sin_addr.s_addr == htonl(INADDR_ANY);
  }
  bool same_host(const socket_address& o) const {
    if (family() != o.family()) return false;
    if (family() == AF_INET6) return std::memcmp(&v6().sin6_addr, &o.v6().sin6_addr, sizeof(::in6_addr)) == 0;
    return v4().sin_addr.s_addr == o.v4().sin_addr.s_addr;
  }
  bool operator==(const socket_address& o) const { return same_host(o) && port() == o.port(); }

  /// "127.0.0.1:29500", "[::1]:29500"
  std::string text() const {
    char host[INET6_ADDRSTRLEN] = "?";
    if (family() == AF_INET6) {
      ::inet_ntop(AF_INET6, &v6().sin6_addr, host, sizeof host);
      return "[" + std::string(host) + "]:" + std::to_string(port());
    }
    if (family() == AF_INET) ::inet_ntop(AF_INET, &v4().sin_addr, host, sizeof host);
    return host + (":" + std::to_string(port()));
  }

  static socket_address of(const ::sockaddr* from, ::socklen_t size) {
    socket_address a;
    a.size = size;
    std::memcpy(&a.bytes, from, size);
    return a;
  }
};

struct resolved {
  std::vector<socket_address> addresses = {};
  std::string failure = {};  ///< the system's words, where there is no address
  bool may_come = false;     ///< there is none yet, and there may be one later
};

/// What `host`, a name or a numeric address, stands for. A name server may take its time, which nothing here bounds.
inline resolved resolve(const std::string& host, int port, bool numeric_only = false) {
  resolved result;
  ::addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  ::addrinfo* list = nullptr;
  int failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (failed == EAI_NONAME && !numeric_only) {
    hints.ai_flags = 0;
    failed = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  }
  if (failed != 0) {
    result.failure = failed == EAI_SYSTEM ? std::strerror(errno) : ::gai_strerror(failed);
    // No answer, or a name that nobody knows: as it is with the name of a container that is just being started.
    result.may_come = failed == EAI_AGAIN || failed == EAI_NONAME;
#if defined(EAI_NODATA)
    result.may_come = result.may_come || failed == EAI_NODATA;
#endif
    return result;
  }
  for (const ::addrinfo* a = list; a != nullptr; a = a->ai_next) {
    if (a->ai_family != AF_INET && a->ai_family != AF_INET6) continue;
    result.addresses.push_back(socket_address::of(a->ai_addr, a->ai_addrlen));
    result.addresses.back().set_port(port);
  }
  ::freeaddrinfo(list);
  if (result.addresses.empty()) result.failure = "it has no IPv4 or IPv6 address";
  return result;
}

/// The addresses of the network interface of that name.
inline resolved addresses_of_interface(std::string_view name, int port) {
  resolved result;
  std::string known;
  ::ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) {
    result.failure = std::strerror(errno);
    return result;
  }
  for (const ::ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr) continue;
    const int family = i->ifa_addr->sa_family;
    if (family != AF_INET && family != AF_INET6) continue;
    if (known.find(" " + std::string(i->ifa_name)) == std::string::npos) known += " " + std::string(i->ifa_name);
    if (name != i->ifa_name) continue;
    const bool v6 = family == AF_INET6;
    result.addresses.push_back(
        socket_address::of(i->ifa_addr, static_cast<::socklen_t>(v6 ? sizeof(::sockaddr_in6) : sizeof(::sockaddr_in))));
    result.addresses.back().set_port(port);
  }
  ::freeifaddrs(list);
  if (result.addresses.empty()) result.failure = "this machine has:" + known;
  return result;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
