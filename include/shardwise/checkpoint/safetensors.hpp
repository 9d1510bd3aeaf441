// SPDX-License-Identifier: Apache-2.0
// One .safetensors file, memory-mapped, believed in nothing.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/detail/byte_counter.hpp"
#include "shardwise/checkpoint/detail/json.hpp"
#include "shardwise/checkpoint/detail/mapped_file.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// The tensors of one file, in the order of its header; a `tensor_source`. Nothing of a tensor is read before `read`.
/// The file must not be changed while it is open: replace one by renaming another over it, as `write_safetensors` does.
class safetensors_file {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;
  /// The format's own limit of a header.
  static constexpr std::uint64_t max_header_bytes = 100'000'000;

  /// Opens a file and checks every field of its header: lengths, dtypes, shapes, and that the tensors cover the data
  /// without overlap or hole. Throws `checkpoint_error`, which names file, tensor and field.
  static safetensors_file open(const std::filesystem::path& path) { return safetensors_file(path); }

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return entries_.size(); }
  tensor_info info(std::size_t i) const { return {entries_[i].name, entries_[i].type, entries_[i].shape}; }
  /// The index of a tensor; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// The first byte of a tensor: dense, row-major, little endian, aligned or not. Valid while the file is open.
  const std::byte* data(std::size_t i) const { return file_.data() + data_begin_ + entries_[i].begin; }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    const entry& e = entries_[i];
    copy_box(e.name, data(i), e.type, e.shape, what, to);
    read_.add(what.elements() * size_of(e.type));
  }
  std::size_t bytes_read() const { return read_.value(); }

 private:
  struct entry {
    std::string_view name;
    dtype type = dtype::f32;
    tensor_shape shape;
    std::uint64_t begin = 0, end = 0;  // in the data
  };

  explicit safetensors_file(const std::filesystem::path& path) : path_(path), file_(path) {
    if (file_.size() < 8) refuse("has ", file_.size(), " bytes, and a safetensors file begins with an 8-byte length");
    std::uint64_t header = 0;
    for (std::size_t i = 8; i-- > 0;) header = header << 8 | std::to_integer<std::uint64_t>(file_.data()[i]);
    if (header > max_header_bytes) refuse("says that its header has more than ", max_header_bytes, " bytes");
    if (header > file_.size() - 8) {
      refuse("says that its header has ", header, " bytes, and the file ends after ", file_.size() - 8);
    }
    data_begin_ = 8 + static_cast<std::size_t>(header);
    parse(file_.text().substr(8, static_cast<std::size_t>(header)));
    check_cover();
  }

  void parse(std::string_view header) {
    if (header.empty() || header[0] != '{') refuse("has a header that does not begin with '{'");
    const detail::json_document json = detail::parse_json(header, path_.string() + ": the header");
    simdjson::dom::object tensors;
    if (json.root.get(tensors) != simdjson::SUCCESS) refuse("has a header that is no JSON object");
    for (const auto& field : tensors) {
      if (field.key == "__metadata__") {
        check_metadata(field.value);
        continue;
      }
      entry e;
      e.name = names_.keep(field.key);
      parse_tensor(field.value, e);
      index_.add(e.name, entries_.size());
      entries_.push(e);
    }
  }

  void check_metadata(simdjson::dom::element metadata) const {
    simdjson::dom::object texts;
    if (metadata.get(texts) != simdjson::SUCCESS) refuse("has a '__metadata__' that is no object");
    for (const auto& field : texts) {
      if (!field.value.is_string()) {
        refuse("has '__metadata__' whose ", detail::in_quotes(field.key), " is no text");
      }
    }
  }

  void parse_tensor(simdjson::dom::element json, entry& e) const {
    simdjson::dom::object fields;
    if (json.get(fields) != simdjson::SUCCESS) refuse_tensor(e, "is no JSON object");

    std::string_view type;
    if (fields["dtype"].get(type) != simdjson::SUCCESS) refuse_tensor(e, "has no text 'dtype'");
    if (!parse_dtype(type, e.type)) {
      refuse_tensor(e, "has the 'dtype' ", detail::in_quotes(type), ", which is none that shardwise knows");
    }

    simdjson::dom::array extents;
    if (fields["shape"].get(extents) != simdjson::SUCCESS) refuse_tensor(e, "has no list 'shape'");
    // A dim of 0 does not excuse the others: strides are products of them.
    std::uint64_t bytes = size_of(e.type);
    bool empty = false;
    for (simdjson::dom::element extent : extents) {
      std::uint64_t n = 0;
      if (extent.get(n) != simdjson::SUCCESS) refuse_tensor(e, "has a 'shape' that is not of whole numbers from 0 on");
      if (e.shape.dims() == max_dims) refuse_tensor(e, "has a 'shape' of more than ", max_dims, " dims");
      empty |= n == 0;
      if (n != 0 && __builtin_mul_overflow(bytes, n, &bytes)) refuse_tensor(e, "has a 'shape' with too many elements");
      e.shape.push(static_cast<std::size_t>(n));
    }
    if (bytes > PTRDIFF_MAX) refuse_tensor(e, "has a 'shape' with too many elements");
    if (empty) bytes = 0;

    simdjson::dom::array offsets;
    if (fields["data_offsets"].get(offsets) != simdjson::SUCCESS || offsets.size() != 2 ||
        offsets.at(0).get(e.begin) != simdjson::SUCCESS || offsets.at(1).get(e.end) != simdjson::SUCCESS) {
      refuse_tensor(e, "has no 'data_offsets' of two whole numbers from 0 on");
    }
    if (e.begin > e.end) refuse_tensor(e, "has 'data_offsets' that end before they begin");
    if (e.end > file_.size() - data_begin_) {
      refuse_tensor(e, "has 'data_offsets' up to ", e.end, ", and the data ends at ", file_.size() - data_begin_);
    }
    if (e.end - e.begin != bytes) {
      refuse_tensor(e, "has 'data_offsets' ", e.end - e.begin, " bytes apart, and ", name_of(e.type),
                    detail::shape_text(e.shape), " is ", bytes, " bytes");
    }
  }

  // Every byte of the data belongs to exactly one tensor, as the format demands.
  void check_cover() const {
    std::vector<const entry*> order;
    for (const entry& e : entries_) order.push_back(&e);
    std::sort(order.begin(), order.end(), [](const entry* a, const entry* b) {
      return a->begin != b->begin ? a->begin < b->begin : a->end < b->end;
    });
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < order.size(); ++i) {
      const entry& e = *order[i];
      if (e.begin < end) {
        refuse_tensor(e, "has 'data_offsets' that overlap ", detail::in_quotes(order[i - 1]->name));
      }
      if (e.begin > end) {
        refuse_tensor(e, "has 'data_offsets' from ", e.begin, " on, and the bytes from ", end, " on are no tensor's");
      }
      end = e.end;
    }
    if (const std::uint64_t all = file_.size() - data_begin_; end != all) {
      refuse("has ", all - end, " bytes after its last tensor");
    }
  }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    detail::raise(checkpoint_error(path_.string(), " ", parts...));
  }
  template <class... Parts>
  [[noreturn]] void refuse_tensor(const entry& e, const Parts&... parts) const {
    detail::raise(checkpoint_error(path_.string(), ": the tensor ", detail::in_quotes(e.name), " ", parts...));
  }

  std::filesystem::path path_;
  detail::mapped_file file_;
  std::size_t data_begin_ = 0;
  detail::text_store names_;
  detail::list<entry> entries_;
  detail::name_index index_;
  detail::byte_counter read_;
};

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
