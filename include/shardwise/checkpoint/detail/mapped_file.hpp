// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A whole file, read-only in memory. Its pages are read when they are touched. The file must not be shortened
/// meanwhile (the system ends a process that touches what is gone); to replace one, rename another over it.
class mapped_file {
 public:
  /// Throws `checkpoint_error` with the system's reason.
  explicit mapped_file(const std::filesystem::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) refuse(path, "cannot be opened", errno);
    struct ::stat facts {};
    int failed = ::fstat(fd, &facts) != 0 ? errno
                 : S_ISDIR(facts.st_mode) ? EISDIR
                 : S_ISREG(facts.st_mode) ? 0
                                          : EINVAL;
    if (failed == 0 && facts.st_size > 0) {
      size_ = static_cast<std::size_t>(facts.st_size);
      data_ = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
      if (data_ == MAP_FAILED) {
        failed = errno;
        data_ = nullptr;
      }
    }
    ::close(fd);
    if (failed != 0) refuse(path, "cannot be read", failed);
  }
  mapped_file(mapped_file&& o) noexcept : data_(std::exchange(o.data_, nullptr)), size_(std::exchange(o.size_, 0)) {}
  mapped_file& operator=(mapped_file&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(size_, o.size_);
    return *this;
  }
  ~mapped_file() {
    if (data_ != nullptr) ::munmap(data_, size_);
  }

  const std::byte* data() const { return static_cast<const std::byte*>(data_); }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {static_cast<const char*>(data_), size_}; }

 private:
  [[noreturn]] static void refuse(const std::filesystem::path& path, std::string_view what, int reason) {
    raise(checkpoint_error(path.string(), " ", what, ": ", std::string_view(std::strerror(reason))));
  }

  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
