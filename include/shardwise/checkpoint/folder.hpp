// SPDX-License-Identifier: Apache-2.0
// A checkpoint as Hugging Face's `save_pretrained` lays it out.
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/detail/json.hpp"
#include "shardwise/checkpoint/safetensors.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// A folder with config.json and either model.safetensors or model.safetensors.index.json and its files. A
/// `tensor_source` under the names of the files, which for some families are not the model's: see `converted`. Reading
/// is safe from any thread.
class folder {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  explicit folder(const std::filesystem::path& path)
      : path_(path), config_(checkpoint::config::open(path / "config.json")) {
    const auto single = path / "model.safetensors";
    const auto index = path / "model.safetensors.index.json";
    std::error_code ignored;  // of which nothing is known is not there
    if (std::filesystem::exists(single, ignored)) {
      add(safetensors_file::open(single));
    } else if (std::filesystem::exists(index, ignored)) {
      add_indexed(index);
    } else {
      detail::raise(checkpoint_error(path.string(),
                                     " has neither model.safetensors nor model.safetensors.index.json; save the model "
                                     "in the safetensors format"));
    }
  }

  const std::filesystem::path& path() const { return path_; }
  const checkpoint::config& config() const { return config_; }
  std::size_t size() const { return places_.size(); }
  tensor_info info(std::size_t i) const { return files_[places_[i].file].info(places_[i].tensor); }
  /// The index of a tensor; `npos` if there is none of that name.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// See `tensor_source`.
  void read(std::size_t i, const box& what, const tensor_view& to) const {
    files_[places_[i].file].read(places_[i].tensor, what, to);
  }
  std::size_t bytes_read() const {
    std::size_t n = 0;
    for (const safetensors_file& f : files_) n += f.bytes_read();
    return n;
  }

 private:
  struct place {
    std::size_t file = 0, tensor = 0;
  };

  void add(safetensors_file file) {
    files_.push_back(std::move(file));
    for (std::size_t i = 0; i < files_.back().size(); ++i) {
      index_.add(files_.back().info(i).name, places_.size());
      places_.push({files_.size() - 1, i});
    }
  }

  // The index and its files must say the same: each tensor listed is where the index says, and there is no other.
  void add_indexed(const std::filesystem::path& index) {
    const std::string where = index.string();
    const detail::mapped_file text(index);
    const detail::json_document json = detail::parse_json(text.text(), where);
    simdjson::dom::object weight_map;
    if (json.root.at_key("weight_map").get(weight_map) != simdjson::SUCCESS) {
      detail::raise(checkpoint_error(where, " has no object 'weight_map'"));
    }
    std::vector<std::pair<std::string_view, std::string_view>> listed;  // file, tensor
    for (const auto& field : weight_map) {
      std::string_view file;
      if (field.value.get(file) != simdjson::SUCCESS) {
        detail::raise(
            checkpoint_error(where, ": the file of the tensor ", detail::in_quotes(field.key), " is no text"));
      }
      if (!is_plain_file_name(file)) {
        detail::raise(checkpoint_error(where, ": the tensor ", detail::in_quotes(field.key), " is in the file ",
                                       detail::in_quotes(file), ", which is no name of a file beside the index"));
      }
      listed.emplace_back(file, field.key);
    }
    std::sort(listed.begin(), listed.end());
    for (std::size_t begin = 0; begin < listed.size();) {
      const std::string_view name = listed[begin].first;
      std::size_t end = begin;
      while (end < listed.size() && listed[end].first == name) ++end;
      safetensors_file file = safetensors_file::open(path_ / name);
      for (std::size_t i = begin; i < end; ++i) {
        if (file.find(listed[i].second) == safetensors_file::npos) {
          detail::raise(checkpoint_error(where, ": the tensor ", detail::in_quotes(listed[i].second), " is not in ",
                                         detail::in_quotes(name)));
        }
      }
      for (std::size_t i = 0; i < file.size(); ++i) {
        const std::string_view tensor = file.info(i).name;
        if (!std::binary_search(listed.begin() + static_cast<std::ptrdiff_t>(begin),
                                listed.begin() + static_cast<std::ptrdiff_t>(end), std::pair(name, tensor))) {
          detail::raise(checkpoint_error(where, " does not say that the tensor ", detail::in_quotes(tensor), " is in ",
                                         detail::in_quotes(name), ", which has it"));
        }
      }
      add(std::move(file));
      begin = end;
    }
  }

  static bool is_plain_file_name(std::string_view name) {
    return !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
           name.find('\0') == std::string_view::npos;
  }

  std::filesystem::path path_;
  checkpoint::config config_;
  std::vector<safetensors_file> files_;
  detail::list<place> places_;
  detail::name_index index_;
};

/// Opens a checkpoint folder: reads config.json and all headers, no weights. Throws `checkpoint_error`.
inline folder open(const std::filesystem::path& path) { return folder(path); }

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise
