// SPDX-License-Identifier: Apache-2.0
// Parameters that a JSON file lists by name, shape and dtype.
#pragma once
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/error.hpp"
#include "shardwise/plan/path.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// The `parameters` of a JSON file: a `tensor_source` that has no bytes.
class listed_parameters {
 public:
  listed_parameters(simdjson::dom::element json, const std::string& where) : where_(where) {
    simdjson::dom::array rows;
    if (json.get(rows) != simdjson::SUCCESS) refuse(" has no list 'parameters' of {\"name\", \"shape\"}");
    std::uint64_t all = 0;
    for (simdjson::dom::element row : rows) add(row, all);
  }

  std::size_t size() const { return rows_.size(); }
  tensor_info info(std::size_t i) const { return rows_[i]; }
  void read(std::size_t i, const box&, const tensor_view&) const {
    refuse(" lists the parameter ", in_quotes(rows_[i].name), ", and holds no weights");
  }
  /// The class of a module that has parameters of its own, where the file says it; else "".
  std::string_view class_of(std::string_view module) const {
    const std::size_t at = modules_.find(module);
    return at == name_index::npos ? std::string_view() : classes_[at];
  }

 private:
  void add(simdjson::dom::element json, std::uint64_t& all) {
    tensor_info row;
    row.type = dtype::bf16;
    simdjson::dom::object fields;
    if (json.get(fields) != simdjson::SUCCESS) refuse(": parameter ", rows_.size(), " is no JSON object");
    std::string_view name, type, of;
    if (fields["name"].get(name) != simdjson::SUCCESS || name.empty()) {
      refuse(": parameter ", rows_.size(), " has no text 'name'");
    }
    row.name = texts_.keep(name);
    if (simdjson::dom::element e; fields["dtype"].get(e) == simdjson::SUCCESS && !e.is_null()) {
      if (e.get(type) != simdjson::SUCCESS) refuse_row(row, "has a 'dtype' that is no text");
      if (!parse_dtype(type, row.type)) {
        refuse_row(row, "has the 'dtype' ", in_quotes(type), ", which is none that shardwise knows");
      }
    }
    read_shape(fields, row, all);
    if (!names_.add(row.name, rows_.size())) refuse_row(row, "is listed twice");
    if (simdjson::dom::element e; fields["module_class"].get(e) == simdjson::SUCCESS && !e.is_null()) {
      if (e.get(of) != simdjson::SUCCESS) refuse_row(row, "has a 'module_class' that is no text");
      if (modules_.add(module_of(row.name), classes_.size())) classes_.push(texts_.keep(of));
    }
    rows_.push(row);
  }

  void read_shape(simdjson::dom::object fields, tensor_info& row, std::uint64_t& all) const {
    simdjson::dom::array extents;
    if (fields["shape"].get(extents) != simdjson::SUCCESS) refuse_row(row, "has no list 'shape'");
    // A dim of 0 does not excuse the others.
    std::uint64_t bytes = size_of(row.type);
    for (simdjson::dom::element extent : extents) {
      std::uint64_t n = 0;
      if (extent.get(n) != simdjson::SUCCESS) refuse_row(row, "has a 'shape' that is not of whole numbers from 0 on");
      if (row.shape.dims() == max_dims) refuse_row(row, "has a 'shape' of more than ", max_dims, " dims");
      if (n != 0 && __builtin_mul_overflow(bytes, n, &bytes)) refuse_row(row, "has a 'shape' with too many elements");
      row.shape.push(static_cast<std::size_t>(n));
    }
    if (__builtin_add_overflow(all, bytes, &all) || all > PTRDIFF_MAX) {
      refuse_row(row, "has a 'shape' with too many elements");
    }
  }

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    raise(checkpoint_error(where_, parts...));
  }
  template <class... Parts>
  [[noreturn]] void refuse_row(const tensor_info& row, const Parts&... parts) const {
    raise(checkpoint_error(where_, ": the parameter ", in_quotes(row.name), " ", parts...));
  }

  std::string where_;
  text_store texts_;
  list<tensor_info> rows_;
  list<std::string_view> classes_;
  name_index names_, modules_;
};
}  // namespace detail
}  // namespace v0
}  // namespace shardwise
