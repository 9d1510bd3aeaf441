// SPDX-License-Identifier: Apache-2.0
// Small files that several processes share: whole or not there at all.
#pragma once
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "shardwise/comm/detail/descriptor.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A directory of our own user's, which nobody else can write to.
class private_directory {
 public:
  /// Makes it, where it is not there yet; what stands in the way is in `failure`.
  static private_directory open_or_make(const std::string& path, std::string& failure) {
    private_directory d;
    d.path_ = path;
    if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      failure = std::string("cannot be made: ") + std::strerror(errno);
      return d;
    }
    d.fd_ = descriptor(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct ::stat facts {};
    if (!d.fd_ || ::fstat(d.fd_.get(), &facts) != 0) {
      d.was_removed_ = means_removed(errno);
      failure = std::string("cannot be opened: ") + std::strerror(errno);
    } else if (facts.st_uid != ::geteuid() || (facts.st_mode & 022) != 0) {
      failure = "belongs to another user, or others can write to it; remove it, or name another directory";
    }
    return d;
  }

  const std::string& path() const { return path_; }
  /// It could not be opened because somebody had removed it since it was made.
  bool was_removed() const { return was_removed_; }
  /// Is this how a directory fails that somebody has removed, on a local disk or on NFS?
  static bool means_removed(int failed) { return failed == ENOENT || failed == ESTALE; }

  /// Puts a file there in one step, over an earlier one unless `first_wins`; 0, or errno.
  int write(const std::string& name, std::string_view head, std::span<const std::byte> body, const std::string& unique,
            bool first_wins = false) const {
    const std::string temporary = name + ".new-" + unique;
    int failed = write_whole(temporary, head, body);
    if (failed == 0 && first_wins) {
      // Where the file system has no links the last one wins.
      if (::linkat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str(), 0) != 0 && errno != EEXIST &&
          ::renameat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str()) != 0) {
        failed = errno;
      }
    } else if (failed == 0 && ::renameat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str()) == 0) {
      return 0;
    } else if (failed == 0) {
      failed = errno;
    }
    remove(temporary);
    return failed;
  }
  /// The file, if it is there; of a longer one its first `most` bytes.
  std::optional<std::string> read(const std::string& name, std::size_t most) const {
    const descriptor fd(::openat(fd_.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    struct ::stat facts {};
    if (!fd || ::fstat(fd.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return std::nullopt;
    std::string all(std::min(static_cast<std::size_t>(facts.st_size), most), '\0');
    std::size_t got = 0;
    while (got < all.size()) {
      const ::ssize_t n = ::read(fd.get(), all.data() + got, all.size() - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      got += static_cast<std::size_t>(n);
    }
    return all;
  }
  bool has(const std::string& name) const { return ::faccessat(fd_.get(), name.c_str(), F_OK, 0) == 0; }
  void remove(const std::string& name) const { ::unlinkat(fd_.get(), name.c_str(), 0); }
  /// All files whose name begins so.
  void remove_all(std::string_view prefix) const {
    ::DIR* list = ::opendir(path_.c_str());
    if (list == nullptr) return;
    while (const ::dirent* entry = ::readdir(list)) {
      const std::string name = entry->d_name;
      if (name.substr(0, prefix.size()) == prefix) remove(name);
    }
    ::closedir(list);
  }
  /// Itself, if nothing is in it.
  void remove_if_empty() const { ::rmdir(path_.c_str()); }

 private:
  int write_whole(const std::string& name, std::string_view head, std::span<const std::byte> body) const {
    const descriptor fd(::openat(fd_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) return errno;
    for (std::span<const std::byte> part : {std::as_bytes(std::span(head)), body}) {
      while (!part.empty()) {
        const ::ssize_t n = ::write(fd.get(), part.data(), part.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        part = part.subspan(static_cast<std::size_t>(n));
      }
    }
    return ::fsync(fd.get()) == 0 ? 0 : errno;
  }

  std::string path_;
  descriptor fd_;
  bool was_removed_ = false;
};

/// 128 bits that nobody has had before, as 32 hex digits; "" where the system gives none.
inline std::string fresh_nonce() {
  unsigned char bytes[16];
  const descriptor fd(::open("/dev/urandom", O_RDONLY | O_CLOEXEC));
  if (!fd || ::read(fd.get(), bytes, sizeof bytes) != static_cast<::ssize_t>(sizeof bytes)) return "";
  std::string text;
  for (const unsigned char b : bytes) {
    text += "0123456789abcdef"[b >> 4];
    text += "0123456789abcdef"[b & 15];
  }
  return text;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
