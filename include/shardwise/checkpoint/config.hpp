// SPDX-License-Identifier: Apache-2.0
// config.json of a checkpoint.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/detail/json.hpp"
#include "shardwise/checkpoint/detail/mapped_file.hpp"
#include "shardwise/model/tree.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// Is a field there? Python's None is written as null, and most often means what a missing field means.
enum class field_state : unsigned char { missing, null, present };

/// A config.json. `section` is "" for the root, "text_config" for a submodel's config, and deeper with dots:
/// "text_config.rope_parameters". A field that is missing or null, or whose section is, reads as nothing; one of
/// another kind throws `checkpoint_error` with file, section and field. Cheap to copy; views into it live as long as
/// any copy.
class config {
 public:
  /// Reads and checks the file. Throws `checkpoint_error` with the file and the reason.
  static config open(const std::filesystem::path& path) {
    const detail::mapped_file file(path);
    return parse(file.text(), path.string());
  }
  /// The same from memory; `where` names the text in errors.
  static config parse(std::string_view json, std::string_view where = "config.json") {
    return config(detail::parse_python_json(json, where), where);
  }
  /// The same of a part of a JSON text that is parsed already. Throws `checkpoint_error` if it is no object.
  static config of(detail::json_document part, std::string_view where) { return config(std::move(part), where); }

  /// The file, as errors name it.
  const std::string& where() const { return where_; }
  /// "" where the root has none.
  std::string_view model_type() const { return text("", "model_type").value_or(std::string_view()); }
  std::vector<std::string_view> architectures() const {
    return texts("", "architectures").value_or(std::vector<std::string_view>());
  }
  /// The configs of submodels: the root's objects whose name ends in `_config`, in the file's order.
  std::vector<std::string_view> sections() const {
    std::vector<std::string_view> names;
    for (const auto& field : root_) {
      if (field.key.ends_with("_config") && field.value.is_object()) names.push_back(field.key);
    }
    return names;
  }

  field_state state(std::string_view section, std::string_view field) const {
    simdjson::dom::element e;
    if (!find(section, field, e)) return field_state::missing;
    return e.is_null() ? field_state::null : field_state::present;
  }

  std::optional<std::int64_t> integer(std::string_view section, std::string_view field) const {
    return read<std::int64_t>(section, field, "a whole number");
  }
  /// A whole number is a number too.
  std::optional<double> number(std::string_view section, std::string_view field) const {
    return read<double>(section, field, "a number");
  }
  std::optional<bool> boolean(std::string_view section, std::string_view field) const {
    return read<bool>(section, field, "true or false");
  }
  std::optional<std::string_view> text(std::string_view section, std::string_view field) const {
    return read<std::string_view>(section, field, "a text");
  }
  std::optional<std::vector<std::int64_t>> integers(std::string_view section, std::string_view field) const {
    return read_list<std::int64_t>(section, field, "a list of whole numbers");
  }
  std::optional<std::vector<double>> numbers(std::string_view section, std::string_view field) const {
    return read_list<double>(section, field, "a list of numbers");
  }
  std::optional<std::vector<std::string_view>> texts(std::string_view section, std::string_view field) const {
    return read_list<std::string_view>(section, field, "a list of texts");
  }

  /// The same for fields that there is no doing without. Throws `checkpoint_error` if one is missing or null.
  std::int64_t required_integer(std::string_view section, std::string_view field) const {
    return required(integer(section, field), section, field);
  }
  double required_number(std::string_view section, std::string_view field) const {
    return required(number(section, field), section, field);
  }
  std::string_view required_text(std::string_view section, std::string_view field) const {
    return required(text(section, field), section, field);
  }

  /// Hands every whole number of the root and of each submodel's config to `tree`. `num_key_value_heads`, where it is
  /// missing or null, is the `num_attention_heads` of its section: that is what it means. Of a quantised checkpoint the
  /// tree is told the blocks that share a scale, too: `weight_block_rows` and `weight_block_columns`, or `group_size`.
  void fill(tree& tree) const {
    fill_section(tree, "", root_);
    for (const std::string_view section : sections()) {
      simdjson::dom::object fields;
      if (root_.at_key(section).get(fields) == simdjson::SUCCESS) fill_section(tree, section, fields);
    }
    fill_blocks(tree);
  }

 private:
  config(detail::json_document json, std::string_view where) : json_(std::move(json)), where_(where) {
    if (json_.root.get(root_) != simdjson::SUCCESS) {
      detail::raise(checkpoint_error(where_, " is JSON, but no object"));
    }
  }

  void fill_section(tree& tree, std::string_view section, simdjson::dom::object fields) const {
    for (const auto& field : fields) {
      std::int64_t n = 0;
      if (field.value.get(n) == simdjson::SUCCESS) tree.config(section, field.key, n);
    }
    const auto heads = integer(section, "num_attention_heads");
    if (heads && state(section, "num_key_value_heads") != field_state::present) {
      tree.config(section, "num_key_value_heads", *heads);
    }
  }

  void fill_blocks(tree& tree) const {
    constexpr std::string_view section = "quantization_config";
    simdjson::dom::object fields;
    if (root_.at_key(section).get(fields) != simdjson::SUCCESS) return;
    simdjson::dom::array block;
    std::int64_t n = 0;
    if (fields.at_key("weight_block_size").get(block) == simdjson::SUCCESS && block.size() == 2) {
      if (block.at(0).get(n) == simdjson::SUCCESS) tree.config(section, "weight_block_rows", n);
      if (block.at(1).get(n) == simdjson::SUCCESS) tree.config(section, "weight_block_columns", n);
    }
    std::string_view method;
    const bool mxfp4 = fields.at_key("quant_method").get(method) == simdjson::SUCCESS && method == "mxfp4";
    // OCP Microscaling Formats 1.0: a scale for 32 elements.
    if (mxfp4 && fields.at_key("group_size").error() == simdjson::NO_SUCH_FIELD) tree.config(section, "group_size", 32);
  }

  bool find(std::string_view section, std::string_view field, simdjson::dom::element& out) const {
    simdjson::dom::object fields = root_;
    for (std::size_t begin = 0; begin < section.size();) {
      const std::size_t dot = std::min(section.find('.', begin), section.size());
      simdjson::dom::element e;
      if (fields.at_key(section.substr(begin, dot - begin)).get(e) != simdjson::SUCCESS || e.is_null()) return false;
      if (e.get(fields) != simdjson::SUCCESS) {
        detail::raise(checkpoint_error(where_, ": '", section.substr(0, dot), "' is no object"));
      }
      begin = dot + 1;
    }
    return fields.at_key(field).get(out) == simdjson::SUCCESS;
  }

  template <class T>
  std::optional<T> read(std::string_view section, std::string_view field, std::string_view kind) const {
    simdjson::dom::element e;
    if (!find(section, field, e) || e.is_null()) return std::nullopt;
    T value{};
    if (e.get(value) != simdjson::SUCCESS) refuse(section, field, "is not ", kind);
    return value;
  }
  template <class T>
  std::optional<std::vector<T>> read_list(std::string_view section, std::string_view field,
                                          std::string_view kind) const {
    simdjson::dom::element e;
    if (!find(section, field, e) || e.is_null()) return std::nullopt;
    simdjson::dom::array items;
    if (e.get(items) != simdjson::SUCCESS) refuse(section, field, "is not ", kind);
    std::vector<T> values;
    for (simdjson::dom::element item : items) {
      T value{};
      if (item.get(value) != simdjson::SUCCESS) refuse(section, field, "is not ", kind);
      values.push_back(value);
    }
    return values;
  }
  template <class T>
  T required(std::optional<T> value, std::string_view section, std::string_view field) const {
    if (!value) refuse(section, field, "is missing or null, and is needed", "");
    return *value;
  }

  [[noreturn]] void refuse(std::string_view section, std::string_view field, std::string_view what,
                           std::string_view kind) const {
    detail::raise(checkpoint_error(where_, ": '", section, section.empty() ? "" : ".", field, "' ", what, kind));
  }

  detail::json_document json_;
  simdjson::dom::object root_;
  std::string where_;
};

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
