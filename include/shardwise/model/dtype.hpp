// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace shardwise {
inline namespace v0 {

/// Element types of tensors. The names are those of a safetensors header.
enum class dtype : std::uint8_t { f64, f32, f16, bf16, f8_e4m3, f8_e5m2, i64, i32, i16, i8, u8, boolean };

namespace detail {
struct dtype_facts {
  dtype type;
  std::string_view name;
  std::size_t bytes;
};
inline constexpr dtype_facts dtype_table[] = {
    {dtype::f64, "F64", 8},         {dtype::f32, "F32", 4},         {dtype::f16, "F16", 2}, {dtype::bf16, "BF16", 2},
    {dtype::f8_e4m3, "F8_E4M3", 1}, {dtype::f8_e5m2, "F8_E5M2", 1}, {dtype::i64, "I64", 8}, {dtype::i32, "I32", 4},
    {dtype::i16, "I16", 2},         {dtype::i8, "I8", 1},           {dtype::u8, "U8", 1},   {dtype::boolean, "BOOL", 1},
};
}  // namespace detail

/// Bytes of one element.
constexpr std::size_t size_of(dtype t) { return detail::dtype_table[static_cast<std::size_t>(t)].bytes; }
/// As a safetensors header writes it: "F32", "BF16".
constexpr std::string_view name_of(dtype t) { return detail::dtype_table[static_cast<std::size_t>(t)].name; }
/// The inverse of `name_of`; false and `out` untouched for a name that is none.
constexpr bool parse_dtype(std::string_view name, dtype& out) {
  for (const auto& row : detail::dtype_table) {
    if (row.name == name) {
      out = row.type;
      return true;
    }
  }
  return false;
}

}  // namespace v0
}  // namespace shardwise
