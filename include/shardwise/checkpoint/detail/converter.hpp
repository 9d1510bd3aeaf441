// SPDX-License-Identifier: Apache-2.0
// The work of `converted`: from the tensors of a file and rules to parameters made of parts.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/detail/name_pattern.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A parameter of the model. Without parts it is the tensor `tensor` of the source as it is.
struct converted_tensor {
  std::string name;
  dtype type = dtype::f32;
  tensor_shape shape;
  std::size_t tensor = 0;
  std::vector<checkpoint::part> parts;
};

class converter {
 public:
  /// `config` may be null. The names in `file` outlive the call.
  converter(std::span<const tensor_info> file, const checkpoint::config* config)
      : file_(file), config_(config), taken_(file.size(), false) {}

  void apply(const checkpoint::conversion& rule) {
    const patterns names(rule);
    std::map<std::string_view, std::vector<member>> groups;
    for (std::size_t t = 0; t < file_.size(); ++t) {
      for (std::size_t k = 0; k < names.from.size(); ++k) {
        const auto m = names.from[k].find(file_[t].name);
        if (!m) continue;
        if (taken_[t])
          raise(plan_error("two conversions take the tensor ", in_quotes(file_[t].name), "; keep one of them"));
        taken_[t] = true;
        groups[m->prefix].push_back({m->number, k, t});
      }
    }
    for (auto& [prefix, members] : groups) assemble(rule, names, prefix, members);
  }

  /// All parameters, in the order of the file; one that was assembled stands where its first tensor was.
  std::vector<converted_tensor> result() && {
    for (std::size_t t = 0; t < file_.size(); ++t) {
      if (!taken_[t]) made_.push_back({std::string(file_[t].name), file_[t].type, file_[t].shape, t, {}});
    }
    std::stable_sort(made_.begin(), made_.end(), [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
    return std::move(made_);
  }

 private:
  struct patterns {
    explicit patterns(const checkpoint::conversion& rule) : to(rule.to) {
      for (const std::string& name : rule.from) from.emplace_back(name);
      bool alike = !from.empty() && !to.counts();
      for (const name_pattern& p : from) alike &= p.deep() == to.deep() && p.counts() == from[0].counts();
      if (!alike) {
        raise(plan_error("the conversion to ", in_quotes(rule.to),
                         " needs names to convert from: with '**' first if it has one itself, and each with a '*' or "
                         "none"));
      }
    }
    name_pattern to;
    std::vector<name_pattern> from;
  };
  // The `number`-th tensor of the `from`-th name.
  struct member {
    std::size_t number = 0, from = 0, tensor = 0;
  };

  const tensor_info& info(const member& m) const { return file_[m.tensor]; }

  void assemble(const checkpoint::conversion& rule, const patterns& names, std::string_view prefix,
                std::vector<member>& members) {
    std::sort(members.begin(), members.end(), [](const member& a, const member& b) {
      return a.number != b.number ? a.number < b.number : a.from < b.from;
    });
    converted_tensor made;
    made.name = names.to.name_of({prefix, 0});
    const bool stacked = names.from[0].counts();
    const std::size_t kinds = names.from.size();
    refuse_missing(made.name, names, prefix, members, stacked ? count(rule, made.name, members) : 1);

    const tensor_shape& first = info(members[0]).shape;
    const std::size_t shift = stacked ? 1 : 0, dims = first.dims() + shift;
    if (kinds > 1 && (rule.dim < shift || rule.dim >= dims)) {
      raise(plan_error("the conversion to ", in_quotes(made.name), " lays tensors of shape ", shape_text(first),
                       " side by side along dim ", rule.dim, " of the parameter, which has ", dims, " dims",
                       stacked ? " and is stacked along dim 0" : ""));
    }
    for (const member& m : members) {
      // Members of one kind are all as the first of that kind; the kinds differ only along `dim`.
      const tensor_info& like = info(members[m.from]);
      const tensor_info& here = info(m);
      bool fits = here.type == like.type && here.shape == like.shape && like.type == info(members[0]).type &&
                  like.shape.dims() == first.dims();
      for (std::size_t d = 0; fits && d < first.dims(); ++d) fits = d + shift == rule.dim || like.shape[d] == first[d];
      if (!fits) refuse_unlike(made.name, here, m.number == 0 ? info(members[0]) : like);
    }

    made.type = info(members[0]).type;
    made.tensor = members[0].tensor;
    if (stacked) made.shape.push(members.size() / kinds);
    for (std::size_t n : first) made.shape.push(n);
    if (kinds > 1) {
      made.shape[rule.dim] = 0;
      for (std::size_t k = 0; k < kinds; ++k) made.shape[rule.dim] += info(members[k]).shape[rule.dim - shift];
    }
    std::size_t along = 0;
    for (const member& m : members) {
      if (m.from == 0) along = 0;
      made.parts.push_back(part_of_member(m, shift));
      box& at = made.parts.back().at;
      if (kinds > 1) {
        at.offset[rule.dim] = along;
        along += at.extent[rule.dim];
      }
      made.tensor = std::min(made.tensor, m.tensor);
    }
    made_.push_back(std::move(made));
  }

  checkpoint::part part_of_member(const member& m, std::size_t shift) const {
    checkpoint::part p;
    p.tensor = m.tensor;
    if (shift != 0) {
      p.at.offset.push(m.number);
      p.at.extent.push(1);
    }
    const tensor_shape& shape = info(m).shape;
    for (std::size_t d = 0; d < shape.dims(); ++d) {
      p.at.offset.push(0);
      p.at.extent.push(shape[d]);
      p.from.push(0);
      p.axis[d] = d + shift;
    }
    return p;
  }

  // How many are stacked: as many as the config says, or else up to the largest number there is.
  std::size_t count(const checkpoint::conversion& rule, std::string_view name,
                    const std::vector<member>& members) const {
    const std::size_t there = members.back().number + 1;
    const auto said = count_in_config(rule);
    if (!said) return there;
    if (there > *said) {
      raise(checkpoint_error(in_quotes(info(members.back()).name), " is more than ", in_quotes(name),
                             " takes: ", config_->where(), " says ", *said));
    }
    return *said;
  }
  // Fields that disagree say nothing, nor does a number that no name can hold.
  std::optional<std::size_t> count_in_config(const checkpoint::conversion& rule) const {
    std::optional<std::size_t> found;
    if (config_ == nullptr) return found;
    std::vector<std::string_view> sections = config_->sections();
    sections.insert(sections.begin(), std::string_view());
    for (const std::string_view section : sections) {
      for (const std::string& field : rule.counted_by) {
        const auto n = config_->integer(section, field);
        if (!n || *n < 1 || *n > static_cast<std::int64_t>(name_pattern::max_number)) continue;
        if (found && *found != static_cast<std::size_t>(*n)) return std::nullopt;
        found = static_cast<std::size_t>(*n);
      }
    }
    return found;
  }

  // `members` are sorted, no two alike, and their numbers below `numbers`.
  void refuse_missing(std::string_view target, const patterns& names, std::string_view prefix,
                      const std::vector<member>& members, std::size_t numbers) const {
    const std::size_t kinds = names.from.size(), all = numbers * kinds;
    if (members.size() == all) return;
    std::string text;
    std::size_t named = 0;
    for (std::size_t i = 0, m = 0; i < all && named < 8; ++i) {
      if (m < members.size() && members[m].number == i / kinds && members[m].from == i % kinds) {
        ++m;
        continue;
      }
      if (named++ != 0) text += ", ";
      text += in_quotes(names.from[i % kinds].name_of({prefix, i / kinds}));
    }
    const std::size_t missing = all - members.size();
    if (missing > named) text += " and " + std::to_string(missing - named) + " more";
    raise(checkpoint_error("the checkpoint has not all tensors of ", in_quotes(target), ": ", text,
                           missing == 1 ? " is" : " are", " missing"));
  }

  [[noreturn]] static void refuse_unlike(std::string_view target, const tensor_info& a, const tensor_info& b) {
    raise(checkpoint_error("the tensors of ", in_quotes(target), " do not fit together: ", in_quotes(a.name), " is ",
                           name_of(a.type), shape_text(a.shape), ", ", in_quotes(b.name), " is ", name_of(b.type),
                           shape_text(b.shape)));
  }

  std::span<const tensor_info> file_;
  const checkpoint::config* config_;
  std::vector<bool> taken_;
  std::vector<converted_tensor> made_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
