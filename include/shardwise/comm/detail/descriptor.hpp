// SPDX-License-Identifier: Apache-2.0
// Owns a file descriptor.
#pragma once
#include <unistd.h>

#include <utility>

namespace shardwise {
inline namespace v0 {
namespace detail {

class descriptor {
 public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  descriptor& operator=(descriptor&& o) noexcept {
    std::swap(fd_, o.fd_);
    return *this;
  }
  ~descriptor() { reset(); }

  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }
  void reset() {
    // Not again after EINTR: Linux has closed it, and another thread may own the number by now.
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
