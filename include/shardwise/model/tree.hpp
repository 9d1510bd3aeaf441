// SPDX-License-Identifier: Apache-2.0
// The run-time tree: the names, shapes and dtypes of a model's parameters, out of a checkpoint or out of an engine's
// own registration calls, with the numbers of its config and its ties.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/dtype.hpp"
#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {

/// One parameter (or persistent buffer) of a tree.
struct tree_entry {
  std::string_view name;  ///< dotted; stable while the tree lives
  dtype type = dtype::f32;
  tensor_shape shape;  ///< of the whole tensor
};

/// `alias` is another name of the parameter `kept`: one storage, cut once.
struct tied_name {
  std::size_t kept = 0;
  std::string_view alias;
};

/// A tree is filled once and then only read; reading is safe from any thread.
class tree {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  /// Registers a parameter. Throws `plan_error` for a name that is there already.
  tree& add(std::string_view name, dtype type, const tensor_shape& shape) {
    const std::string_view kept = texts_.keep(name);
    if (!index_.add(kept, entries_.size()))
      detail::raise(
          plan_error("the tree has two parameters called '", name, "': register each once, under its own name"));
    entries_.push({kept, type, shape});
    bytes_ += shape.elements() * size_of(type);
    return *this;
  }

  /// Says that `alias` ("lm_head.weight") is the registered parameter `kept` ("model.embed_tokens.weight").
  tree& tie(std::string_view kept, std::string_view alias) {
    const std::size_t at = index_.find(kept);
    if (at == npos) detail::raise(plan_error("'", alias, "' is tied to '", kept, "', which the tree does not have"));
    const std::string_view name = texts_.keep(alias);
    if (!index_.add(name, at)) detail::raise(plan_error("the tied name '", alias, "' is a parameter or a tie already"));
    ties_.push({at, name});
    return *this;
  }

  /// Registers a number of config.json. `section` is "" for the root, or the name of a submodel's config:
  /// "text_config".
  /// The same number twice is one; another value for it throws `plan_error`.
  tree& config(std::string_view section, std::string_view field, std::int64_t value) {
    if (const config_number* known = registered(section, field)) {
      if (known->value == value) return *this;
      detail::raise(plan_error("the config number '", section, section.empty() ? "" : ".", field, "' is ", known->value,
                               " and ", value, ": register it once"));
    }
    numbers_.push({texts_.keep(section), texts_.keep(field), value});
    return *this;
  }

  std::size_t size() const { return entries_.size(); }
  const tree_entry& operator[](std::size_t i) const { return entries_[i]; }
  const tree_entry* begin() const { return entries_.begin(); }
  const tree_entry* end() const { return entries_.end(); }
  const detail::list<tied_name>& ties() const { return ties_; }
  /// The index of a parameter, by its name or by a tied one; `npos` if there is none.
  std::size_t find(std::string_view name) const { return index_.find(name); }
  /// Bytes of all parameters, a tied one counted once.
  std::size_t bytes() const { return bytes_; }

  /// The number `field` of the config of the submodel that the parameter `path` belongs to: below a segment
  /// `language_model` or `text_model` that is `text_config`; below `visual`, `vision_tower` or `vision_model`
  /// `vision_config`; below `audio_tower` `audio_config`. Elsewhere it is the root, and if the root does not have it
  /// the one submodel that does. `field` may name the section itself: "text_config.num_attention_heads". Throws
  /// `shard_error` for a field that is missing there, or that several submodels have.
  std::int64_t number(std::string_view path, std::string_view field) const {
    const looked_up n = look_up(path, field);
    if (n.found == nullptr || n.other != nullptr) {
      shard_error e("");
      append_number_fault(e, path, field);
      detail::raise(e);
    }
    return n.found->value;
  }
  /// The same, and null for what `number` refuses.
  const std::int64_t* find_number(std::string_view path, std::string_view field) const {
    const looked_up n = look_up(path, field);
    return n.found == nullptr || n.other != nullptr ? nullptr : &n.found->value;
  }
  /// Appends why `number` refuses.
  void append_number_fault(error& e, std::string_view path, std::string_view field) const {
    const auto put = [&e](const auto&... parts) { (e.append(std::string_view(parts)), ...); };
    const looked_up n = look_up(path, field);
    put("units(\"", field, "\") of '", path, "'");
    if (n.other != nullptr) {
      put(" is ambiguous: ", n.found->section, " and ", n.other->section, " both have it; write units(\"",
          n.found->section, ".", n.found->field, "\")");
    } else {
      put(": ", n.section.empty() ? "the config" : n.section, " has no number of that name");
    }
  }

 private:
  struct config_number {
    std::string_view section, field;
    std::int64_t value = 0;
  };

  const config_number* registered(std::string_view section, std::string_view field) const {
    for (const config_number& n : numbers_) {
      if (n.section == section && n.field == field) return &n;
    }
    return nullptr;
  }
  // What a field of a parameter's config is: nothing, one number, or numbers of several submodels.
  struct looked_up {
    std::string_view section;
    const config_number *found = nullptr, *other = nullptr;
  };
  looked_up look_up(std::string_view path, std::string_view field) const {
    looked_up r{section_of(path)};
    std::string_view name = field;
    if (const std::size_t dot = field.find('.'); dot != std::string_view::npos) {
      r.section = field.substr(0, dot);
      name = field.substr(dot + 1);
    }
    r.found = registered(r.section, name);
    if (r.found != nullptr || !r.section.empty()) return r;
    for (const config_number& n : numbers_) {
      if (n.field != name) continue;
      (r.found == nullptr ? r.found : r.other) = &n;
      if (r.other != nullptr) break;
    }
    return r;
  }
  bool has_section(std::string_view section) const {
    for (const config_number& n : numbers_) {
      if (n.section == section) return true;
    }
    return false;
  }
  std::string_view section_of(std::string_view path) const {
    struct row {
      std::string_view segment, section;
    };
    constexpr row rows[] = {{"language_model", "text_config"}, {"text_model", "text_config"},
                            {"visual", "vision_config"},       {"vision_tower", "vision_config"},
                            {"vision_model", "vision_config"}, {"audio_tower", "audio_config"}};
    while (!path.empty()) {
      const std::size_t dot = path.find('.');
      for (const row& r : rows) {
        if (path.substr(0, dot) == r.segment && has_section(r.section)) return r.section;
      }
      if (dot == std::string_view::npos) break;
      path.remove_prefix(dot + 1);
    }
    return {};
  }

  detail::text_store texts_;
  detail::list<tree_entry> entries_;
  detail::list<tied_name> ties_;
  detail::list<config_number> numbers_;
  detail::name_index index_;
  std::size_t bytes_ = 0;
};

}  // namespace v0
}  // namespace shardwise
