// SPDX-License-Identifier: Apache-2.0
// A model before it is loaded: its config, and the names, shapes and dtypes of its parameters. No weight is read.
#pragma once
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/detail/json.hpp"
#include "shardwise/checkpoint/detail/listed_parameters.hpp"
#include "shardwise/checkpoint/detail/mapped_file.hpp"
#include "shardwise/checkpoint/detail/tied_names.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/plan/path.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// The config and the tree of a model, out of headers alone; made by `read_headers`.
class headers {
 public:
  const checkpoint::config& config() const { return config_; }
  const shardwise::tree& tree() const { return tree_; }
  /// The class of a module that has parameters of its own ("Linear"), where the file says it; else "".
  std::string_view class_of(std::string_view module) const {
    const std::size_t at = modules_.find(module);
    return at == detail::name_index::npos ? std::string_view() : classes_[at];
  }

 private:
  friend headers read_headers(const std::filesystem::path&, std::span<const conversion>);
  explicit headers(checkpoint::config config) : config_(std::move(config)) {}

  template <class Source>
  void fill(const Source& source) {
    std::vector<tensor_info> rows;
    rows.reserve(source.size());
    for (std::size_t i = 0; i < source.size(); ++i) rows.push_back(source.info(i));
    const detail::tied_names ties(rows, config_);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (!ties.is_alias(i)) tree_.add(rows[i].name, rows[i].type, rows[i].shape);
    }
    ties.fill(tree_);
    config_.fill(tree_);
  }
  template <class Source>
  void fill_classes(const Source& source) {
    for (const tree_entry& e : tree_) {
      const std::string_view module = detail::module_of(e.name);
      const std::string_view name = source.class_of(module);
      if (!name.empty() && modules_.add(module, classes_.size())) classes_.push(texts_.keep(name));
    }
  }

  checkpoint::config config_;
  shardwise::tree tree_;
  detail::text_store texts_;
  detail::list<std::string_view> classes_;
  detail::name_index modules_;
};

/// Reads what there is to know of a model before its weights. `path` is a folder as `open` takes it, or a JSON file
/// `{"config": {...}, "parameters": [{"name", "shape", "dtype", "module_class"}]}`, where `dtype` may be missing
/// (BF16), `module_class` too, and other keys are ignored. Names become the model's by `conversions`, as `converted`
/// does it; without them, a folder's by those that its config asks for, and a list's, which has the model's names or
/// nearly so, by `default_conversions`. If the config says `tie_word_embeddings`, the head is tied to the embedding,
/// whichever way they are called. Throws `checkpoint_error`.
inline headers read_headers(const std::filesystem::path& path, std::span<const conversion> conversions) {
  std::error_code ignored;  // what cannot be asked is opened as a file, which says why
  if (std::filesystem::is_directory(path, ignored)) {
    const folder files = open(path);
    headers h(files.config());
    h.fill(converted(files, conversions));
    return h;
  }
  const detail::mapped_file file(path);
  const std::string where = path.string();
  const detail::json_document json = detail::parse_python_json(file.text(), where);
  simdjson::dom::element config, parameters;
  if (json.root.at_key("config").get(config) != simdjson::SUCCESS || !config.is_object()) {
    detail::raise(checkpoint_error(where,
                                   " has no object 'config': a model is a folder with config.json and safetensors "
                                   "files, or a file {\"config\": {...}, \"parameters\": [{\"name\", \"shape\"}]}"));
  }
  if (json.root.at_key("parameters").get(parameters) != simdjson::SUCCESS) {
    detail::raise(checkpoint_error(where, " has no list 'parameters' of {\"name\", \"shape\"}"));
  }
  headers h(checkpoint::config::of({json.kept, config}, where + ": config"));
  const detail::listed_parameters rows(parameters, where);
  h.fill(converted(rows, conversions));
  h.fill_classes(rows);
  return h;
}

inline headers read_headers(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) return read_headers(path, default_conversions());
  return read_headers(path, conversions_for(config::open(path / "config.json")));
}

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
