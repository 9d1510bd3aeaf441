// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fcntl.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/copy.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/model/tensor_view.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// A tensor to write. Its elements are only read, and may be strided.
struct named_tensor {
  std::string_view name;
  tensor_view view;
};

}  // namespace checkpoint

namespace detail {

inline std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
      out += escaped;
    } else {
      out += c;
    }
  }
  return out += '"';
}

/// A file that appears under its name when it is whole: until `publish` it lies beside it, and goes if it never comes
/// to that.
class new_file {
 public:
  explicit new_file(const std::filesystem::path& path) : path_(path), beside_(path) {
    static std::atomic<unsigned> number{0};
    beside_ += ".unfinished-" + std::to_string(::getpid()) + "-" + std::to_string(number++);
    fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd_ < 0) refuse("cannot be written beside", errno);
  }
  new_file(const new_file&) = delete;
  ~new_file() {
    if (fd_ >= 0) ::close(fd_);
    if (!published_) ::unlink(beside_.c_str());
  }

  void write(const void* data, std::size_t bytes) {
    const auto* p = static_cast<const char*>(data);
    while (bytes != 0) {
      const ::ssize_t n = ::write(fd_, p, bytes);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) refuse("cannot be written", n < 0 ? errno : EIO);
      p += n;
      bytes -= static_cast<std::size_t>(n);
    }
  }

  void publish() {
    if (::fsync(fd_) != 0) refuse("cannot be written", errno);
    const int closed = ::close(fd_);
    fd_ = -1;
    if (closed != 0) refuse("cannot be written", errno);
    if (std::rename(beside_.c_str(), path_.c_str()) != 0) refuse("cannot be put in place", errno);
    published_ = true;
  }

 private:
  [[noreturn]] void refuse(std::string_view what, int reason) const {
    raise(checkpoint_error(path_.string(), " ", what, ": ", std::string_view(std::strerror(reason))));
  }

  std::filesystem::path path_, beside_;
  int fd_ = -1;
  bool published_ = false;
};

inline void write_elements(new_file& file, const tensor_view& view) {
  if (view.elements() == 0) return;
  if (view.contiguous()) return file.write(view.data, view.bytes());
  // A strided tensor goes through a buffer, one index of its first dim at a time. (Zero dims are contiguous.)
  tensor_view row = part_of(view, 0, 0, 1);
  std::vector<std::byte> dense(row.bytes());
  for (std::size_t i = 0; i < view.shape[0]; ++i) {
    row = part_of(view, 0, i, 1);
    copy_strided(static_cast<const std::byte*>(row.data), row.type, row.strides,
                 tensor_view(dense.data(), row.type, row.shape));
    file.write(dense.data(), dense.size());
  }
}

}  // namespace detail

namespace checkpoint {

/// Writes one .safetensors file, as `save_pretrained` does: the widest dtypes first, then by name, each tensor aligned
/// to its elements. The file appears under its name when it is whole, in place of one that was there; after an error
/// nothing has changed. Throws `checkpoint_error`.
inline void write_safetensors(const std::filesystem::path& path, std::span<const named_tensor> tensors) {
  std::vector<const named_tensor*> order;
  for (const named_tensor& t : tensors) order.push_back(&t);
  std::sort(order.begin(), order.end(), [](const named_tensor* a, const named_tensor* b) {
    const std::size_t size_a = size_of(a->view.type), size_b = size_of(b->view.type);
    return size_a != size_b ? size_a > size_b : a->name < b->name;
  });

  detail::name_index names;
  std::string header = R"({"__metadata__":{"format":"pt"})";
  std::size_t end = 0;
  for (const named_tensor* t : order) {
    const auto refuse = [&](std::string_view why) {
      detail::raise(checkpoint_error(path.string(), ": the tensor ", detail::in_quotes(t->name), " ", why));
    };
    if (t->name == "__metadata__") refuse("has the name that the format keeps for itself");
    if (!simdjson::validate_utf8(t->name.data(), t->name.size())) refuse("has a name that is no UTF-8");
    if (!names.add(t->name, 0)) refuse("was to be written twice");
    if (t->view.data == nullptr && t->view.elements() != 0) refuse("has no memory");
    header += "," + detail::json_text(t->name) + R"(:{"dtype":")";
    header += name_of(t->view.type);
    header += R"(","shape":[)";
    for (std::size_t d = 0; d < t->view.shape.dims(); ++d) {
      header += (d == 0 ? "" : ",") + std::to_string(t->view.shape[d]);
    }
    header += R"(],"data_offsets":[)" + std::to_string(end) + "," + std::to_string(end + t->view.bytes()) + "]}";
    end += t->view.bytes();
  }
  header += '}';
  header.resize((header.size() + 7) / 8 * 8, ' ');

  detail::new_file file(path);
  unsigned char length[8];
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(header.size() >> (8 * i));
  file.write(length, sizeof length);
  file.write(header.data(), header.size());
  for (const named_tensor* t : order) detail::write_elements(file, t->view);
  file.publish();
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
