// SPDX-License-Identifier: Apache-2.0
// The start-up of the TCP rendezvous at rank 0: everybody is heard at the same time, and strangers are sent away.
#pragma once
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/comm/detail/shared_deadline.hpp"
#include "shardwise/comm/detail/tcp_link.hpp"
#include "shardwise/comm/detail/tcp_listen.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Who connects is a stranger until it has said a hello with this job's secret (where the job has none: with its name).
/// A stranger cannot end the start-up nor hold it up: whatever it sends or does not send, it is remembered for the
/// error's text and dropped. A rank of this job that was started wrongly ends the start-up on all ranks, since waiting
/// for it would be in vain.
class tcp_gathering {
 public:
  explicit tcp_gathering(const tcp_rendezvous_options& job)
      : job_(job),
        until_(job.deadline),
        expected_{.secret = wire_text<256>(job.secret), .ranks = job.size, .name = wire_text<128>(job.name)},
        listener_(listen_for_ranks(job, until_.end())),
        links_(static_cast<std::size_t>(job.size)) {}

  /// Returns when all ranks have come: the connections by rank, of which [0] is none.
  std::vector<tcp_link> run() {
    std::vector<::pollfd> polled;
    while (come_ + 1 < job_.size) {
      if (until_.end().passed()) fail_of_absence();
      polled.clear();
      polled.push_back({listener_.fd.get(), POLLIN, 0});
      for (const visitor& v : visitors_) polled.push_back({v.fd.get(), POLLIN, 0});
      const std::size_t first_link = polled.size();
      for (const tcp_link& link : links_) {
        if (link.fd) polled.push_back({link.fd.get(), POLLIN, 0});
      }
      if (::poll(polled.data(), static_cast<::nfds_t>(polled.size()), until_.end().left_ms()) <= 0) continue;
      for (std::size_t i = first_link; i < polled.size(); ++i) {
        if (polled[i].revents != 0) hear_link(polled[i].fd);
      }
      std::size_t i = 1;
      for (auto v = visitors_.begin(); v != visitors_.end(); ++i) {
        const auto next = std::next(v);
        if (polled[i].revents != 0) hear(v);
        v = next;
      }
      if (polled[0].revents != 0) welcome();
    }
    listener_.fd.reset();  // before any rank goes on: the port is free when a constructor returns
    for (tcp_link& link : links_) {
      if (link.fd) link.tell(frame_kind::start);
    }
    return std::move(links_);
  }

 private:
  struct visitor {
    descriptor fd;
    std::string address;
    std::array<std::byte, tcp_hello::size> hello{};
    std::size_t got = 0;
  };
  using visitors = std::list<visitor>;
  // Of connections that have not yet said who they are.
  std::size_t most_visitors() const { return static_cast<std::size_t>(job_.size) + 64; }

  void welcome() {
    for (int i = 0; i < 64; ++i) {
      socket_address from;
      descriptor fd(::accept4(listener_.fd.get(), from.raw(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd) {
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
        // There is room again when the one who has been silent for longest is gone.
        if (visitors_.empty()) fail(std::string("cannot accept a connection: ") + std::strerror(errno));
        drop(visitors_.begin(), silence_of(visitors_.front()));
        return;
      }
      send_promptly(fd.get());
      if (visitors_.size() >= most_visitors()) drop(visitors_.begin(), silence_of(visitors_.front()));
      visitors_.push_back({std::move(fd), from.text()});
    }
  }

  // Reads what there is of a hello, and judges it as soon as that can be done.
  void hear(visitors::iterator v) {
    const transfer t = receive_some(v->fd.get(), v->hello, v->got);
    const std::size_t known = std::min(v->got, tcp_hello::magic.size());
    if (std::memcmp(v->hello.data(), tcp_hello::magic.data(), known) != 0) {
      return refuse(v, "this is a rendezvous of shardwise, and what was sent is no hello of it", "it sent garbage");
    }
    if (t == transfer::ended) return drop(v, silence_of(*v) + " and left");
    if (t == transfer::done) judge(v, tcp_hello::of(v->hello));
  }

  void judge(visitors::iterator v, const tcp_hello& h) {
    if (!h.secret.same_as(expected_.secret)) {
      return refuse(v, "wrong secret: all ranks of a job must be given the same (SHARDWISE_JOB_SECRET), and only they",
                    "wrong secret");
    }
    if (h.name.view() != job_.name && job_.secret.empty()) {
      return refuse(v, "wrong name: " + names_text(h), "wrong name '" + printable(h.name.view()) + "'");
    }
    if (h.protocol != tcp_protocol || h.version != library_version) {
      misfit(v, h,
             "wrong version: it has shardwise " + version_text(h.version, h.protocol) + ", rank 0 has shardwise " +
                 version_text(library_version, tcp_protocol) + "; build all ranks from one");
    }
    if (h.name.view() != job_.name) misfit(v, h, "wrong name: " + names_text(h));
    if (h.ranks != job_.size) {
      misfit(v, h,
             "wrong size: it was started as one of " + std::to_string(h.ranks) + " ranks, rank 0 as one of " +
                 std::to_string(job_.size) + "; give all the same world size");
    }
    if (h.rank < 0 || h.rank >= job_.size) {
      misfit(v, h, "rank out of range: ranks go from 0 to " + std::to_string(job_.size - 1));
    }
    until_.hurry_for(h.rank, h.left_ms);
    tcp_link& link = links_[static_cast<std::size_t>(h.rank)];
    if (h.rank == 0 || link.fd) {
      misfit(v, h, "rank taken: there is another rank " + std::to_string(h.rank) + "; give each process its own rank");
    }
    link.fd = std::move(v->fd);
    link.rank = h.rank;
    visitors_.erase(v);
    ++come_;
    link.tell(frame_kind::accepted);
  }

  std::string names_text(const tcp_hello& h) const {
    return "it belongs to '" + printable(h.name.view()) + "', rank 0 to '" + printable(job_.name) +
           "'; give the two jobs different ports, or all ranks of one job the same name";
  }
  static std::string version_text(std::uint32_t v, std::uint32_t protocol) {
    return std::to_string(v / 1000000) + "." + std::to_string(v / 1000 % 1000) + "." + std::to_string(v % 1000) +
           " (protocol " + std::to_string(protocol) + ")";
  }
  static std::string silence_of(const visitor& v) {
    if (v.got == 0) return "it said nothing";
    return "it sent " + std::to_string(v.got) + " of the " + std::to_string(tcp_hello::size) + " bytes of a hello";
  }

  void drop(visitors::iterator v, std::string_view why) {
    ++refused_;
    last_refused_ = v->address + ": " + std::string(why);
    close_gently(v->fd);
    visitors_.erase(v);
  }
  void refuse(visitors::iterator v, std::string_view told, std::string_view remembered) {
    tcp_link{std::move(v->fd)}.tell(frame_kind::refused, told);
    drop(v, remembered);
  }
  // A rank of this job, started wrongly: it is told, and all are.
  [[noreturn]] void misfit(visitors::iterator v, const tcp_hello& h, const std::string& why) {
    tcp_link misfit{std::move(v->fd)};
    misfit.tell(frame_kind::refused, why);
    close_gently(misfit.fd);
    fail("refused rank " + std::to_string(h.rank) + " at " + v->address + ": " + why);
  }

  void hear_link(int fd) {
    for (tcp_link& link : links_) {
      if (link.fd.get() != fd) continue;
      frame_receiver in;
      if (in.all(fd, until_.end().or_in(std::chrono::milliseconds(100))) == transfer::late) return;
      fail(last_words_text(link.rank, in) + "; " + ranks_text(absent(link.rank)) + " had not come yet");
    }
  }

  std::vector<int> absent(int but = 0) const {
    std::vector<int> ranks;
    for (int r = 1; r < job_.size; ++r) {
      if (r != but && !links_[static_cast<std::size_t>(r)].fd) ranks.push_back(r);
    }
    return ranks;
  }
  [[noreturn]] void fail_of_absence() {
    std::string text =
        ranks_text(absent()) + " did not come " + until_.text() + "; rank 0 listened at " + listener_.at.text();
    if (listener_.at.is_loopback()) text += " (which only this machine can reach)";
    for (const visitor& v : visitors_) {
      ++refused_;
      last_refused_ = v.address + ": " + silence_of(v);
    }
    if (refused_ != 0) {
      text += "; " + std::to_string(refused_) + (refused_ == 1 ? " connection was" : " connections were") +
              " refused, the last from " + last_refused_;
    }
    fail(text);
  }
  [[noreturn]] void fail(const std::string& why) {
    for (tcp_link& link : links_) {
      if (!link.fd) continue;
      link.tell(frame_kind::failure, why);
      close_gently(link.fd);
    }
    raise(comm_error(words_before(job_), why));
  }

  const tcp_rendezvous_options& job_;
  shared_deadline until_;
  const tcp_hello expected_;
  tcp_listener listener_;
  visitors visitors_;
  std::vector<tcp_link> links_;
  int come_ = 0;
  std::size_t refused_ = 0;
  std::string last_refused_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
