// SPDX-License-Identifier: Apache-2.0
// A file that is there whole or not at all.
#pragma once
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <string_view>

#include "shardwise/error.hpp"

namespace generate {
namespace sw = shardwise;

/// Made before the work whose result it shall hold, so that a place that cannot be written to is found first. What was
/// at `path` stays until `write`, and for good where that is never called.
class whole_file {
 public:
  /// Throws `error`.
  explicit whole_file(const std::filesystem::path& path)
      : path_(path.string()), unfinished_(path_ + "." + std::to_string(::getpid()) + ".tmp") {
    struct stat there {};
    if (::stat(path_.c_str(), &there) == 0 && !S_ISREG(there.st_mode)) {
      throw sw::error(path_, " cannot be written: it is there, and is no file");
    }
    file_ = ::open(unfinished_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file_ < 0) fail();
  }
  whole_file(const whole_file&) = delete;
  ~whole_file() {
    if (file_ < 0) return;
    ::close(file_);
    ::unlink(unfinished_.c_str());
  }

  /// Once. Throws `error`.
  void write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(file_, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail();
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    if (::fsync(file_) != 0 || std::rename(unfinished_.c_str(), path_.c_str()) != 0) fail();
    ::close(file_);
    file_ = -1;
  }

 private:
  [[noreturn]] void fail() const { throw sw::error(path_, " cannot be written: ", std::strerror(errno)); }

  std::string path_, unfinished_;
  int file_ = -1;
};

}  // namespace generate
