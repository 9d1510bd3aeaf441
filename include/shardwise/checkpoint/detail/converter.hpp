// SPDX-License-Identifier: Apache-2.0
// The work of `converted`: from the tensors of a file and rules to tensors made of parts.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/checkpoint/detail/assembly.hpp"
#include "shardwise/checkpoint/detail/rule_names.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/detail/list.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// A tensor under its new name: the tensor `tensor` of the source as it is, or assembled; then `tensor` is the first of
/// those that it is made of, and one without elements has no parts.
struct converted_tensor {
  std::string name;
  dtype type = dtype::f32;
  tensor_shape shape;
  std::size_t tensor = 0;
  std::vector<checkpoint::part> parts;
  bool renamed = false, assembled = false;
};

class converter {
 public:
  /// `config` may be null. The names in `file` outlive the call.
  converter(std::span<const tensor_info> file, const checkpoint::config* config) : file_(file), config_(config) {
    now_.reserve(file.size());
    for (std::size_t t = 0; t < file.size(); ++t) {
      now_.push_back({std::string(file[t].name), file[t].type, file[t].shape, t, {}, false, false});
    }
  }

  void apply(const checkpoint::conversion& rule) {
    using enum checkpoint::conversion::verb_t;
    const rule_names names(rule);
    if (!rule.given.empty() && !any_has(fragment(rule.given))) return;
    if (rule.verb == rename) return rename_all(rule, names);
    std::map<std::string, std::vector<member>> groups;  // by the first name that is made
    std::vector<bool> taken(now_.size(), false);
    for (std::size_t t = 0; t < now_.size(); ++t) {
      auto m = names.find(now_[t].name, rule);
      if (!m) continue;
      if (rule.verb == refuse) refuse_change(rule, now_[t]);
      if (already_done(rule, now_[t])) continue;
      m->tensor = t;
      taken[t] = true;
      groups[names.made(*m, now_[t].name, 0)].push_back(std::move(*m));
    }
    if (groups.empty()) return;
    std::vector<converted_tensor> made;
    for (auto& [name, members] : groups) make(rule, names, name, members, made);
    const auto before = [](const converted_tensor& a, const converted_tensor& b) { return a.tensor < b.tensor; };
    std::stable_sort(made.begin(), made.end(), before);
    std::vector<converted_tensor> all;  // both are in the order of the file
    all.reserve(now_.size() - static_cast<std::size_t>(std::count(taken.begin(), taken.end(), true)) + made.size());
    std::size_t next = 0;
    for (std::size_t t = 0; t < now_.size(); ++t) {
      if (taken[t]) continue;
      while (next < made.size() && !before(now_[t], made[next])) all.push_back(std::move(made[next++]));
      all.push_back(std::move(now_[t]));
    }
    while (next < made.size()) all.push_back(std::move(made[next++]));
    now_ = std::move(all);
  }

  /// The name that a tensor of this name would get, the first where it is split, whatever else there is; and of the
  /// rules that do more than rename, the last that took it, if any.
  static std::string name_after(std::span<const checkpoint::conversion> rules, std::string_view name,
                                const checkpoint::conversion** made_by) {
    std::string now(name);
    if (made_by != nullptr) *made_by = nullptr;
    for (const checkpoint::conversion& rule : rules) {
      if (rule.verb == checkpoint::conversion::refuse) continue;
      const rule_names names(rule);
      const auto m = names.find(now, rule);
      if (!m) continue;
      now = names.made(*m, now, 0);
      if (rule.verb != checkpoint::conversion::rename && made_by != nullptr) *made_by = &rule;
    }
    return now;
  }

  /// All tensors, in the order of the file; one that was assembled stands where its first tensor was.
  std::vector<converted_tensor> result() && {
    name_index names;
    for (std::size_t t = 0; t < now_.size(); ++t) {
      const converted_tensor& c = now_[t];
      if (c.renamed && !c.assembled && c.name == file_[c.tensor].name) {
        raise(plan_error("the conversions rename ", in_quotes(c.name), " and then back to what it was"));
      }
      if (names.add(c.name, t)) continue;
      const converted_tensor& other = now_[names.find(c.name)];
      raise(checkpoint_error("the checkpoint has ", in_quotes(c.name),
                             " and also the tensors that are converted to it: ", in_quotes(file_[other.tensor].name),
                             " and ", in_quotes(file_[c.tensor].name), "; leave one of them out"));
    }
    return std::move(now_);
  }

 private:
  using member = taken_name;

  bool any_has(const fragment& f) const {
    return std::any_of(now_.begin(), now_.end(), [&](const converted_tensor& t) { return f.find(t.name).has_value(); });
  }

  void rename_all(const checkpoint::conversion& rule, const rule_names& names) {
    for (converted_tensor& t : now_) {
      const auto m = names.find(t.name, rule);
      if (!m) continue;
      std::string name = names.made(*m, t.name, 0);
      t.renamed |= name != t.name;
      t.name = std::move(name);
    }
  }

  // One group: everything that makes the tensors whose first is `name`.
  void make(const checkpoint::conversion& rule, const rule_names& names, const std::string& name,
            std::vector<member>& members, std::vector<converted_tensor>& out) const {
    using enum checkpoint::conversion::verb_t;
    std::sort(members.begin(), members.end(), [](const member& a, const member& b) {
      return a.number != b.number ? a.number < b.number : a.from < b.from;
    });
    for (std::size_t i = 1; i < members.size(); ++i) {
      const member &a = members[i - 1], &b = members[i];
      if (a.number != b.number || a.from != b.from) continue;
      raise(checkpoint_error(in_quotes(here(a).name), " and ", in_quotes(here(b).name), " are both converted to ",
                             in_quotes(name), "; leave one of them out"));
    }
    if (rule.verb == one_of) members.resize(1);
    const std::size_t kinds = names.from.size();
    const std::size_t numbers = rule.verb == one_of ? 1 : names.counted ? count(rule, name, members) : std::size_t{1};
    if (rule.verb != one_of) refuse_missing(name, names, members, numbers);

    std::size_t first = members[0].tensor;
    for (const member& m : members) first = std::min(first, m.tensor);
    const converted_tensor& like = now_[first];
    std::vector<assembly> all;
    if (rule.verb == stack) {
      // Into several names: each takes equally many of the numbers, the last what is left.
      const std::size_t share = (numbers + names.to.size() - 1) / names.to.size();
      for (std::size_t k = 0; k < names.to.size(); ++k) {
        const std::size_t begin = std::min(k * share, numbers), end = std::min(begin + share, numbers);
        if (begin == end)
          raise(checkpoint_error("there are too few tensors to make ", in_quotes(name), " and others of"));
        std::vector<assembly> side_by_side;
        for (std::size_t from = 0; from < kinds; ++from) {
          std::vector<assembly> pile;
          for (std::size_t n = begin; n < end; ++n) pile.push_back(assembly_of(members[n * kinds + from]));
          refuse_unlike(name, members, begin, end, from);
          if (pile[0].shape.dims() == max_dims) {
            raise(checkpoint_error(in_quotes(here(members[begin * kinds + from]).name), " has ", max_dims,
                                   " dims, the most that there may be, and is stacked to ", in_quotes(name),
                                   ", which would have one more"));
          }
          side_by_side.push_back(stacked(std::move(pile)));
        }
        all.push_back(joined(rule, name, members, begin * kinds, std::move(side_by_side)));
      }
    } else {
      for (const member& m : members) all.push_back(assembly_of(m));
      all = reshaped(rule, name, members, names.to.size(), std::move(all));
    }
    for (std::size_t k = 0; k < all.size(); ++k) {
      if (rule.tile > 1) {
        check_dim(rule.dim, name, all[k].shape);
        all[k].shape[rule.dim] = (all[k].shape[rule.dim] + rule.tile - 1) / rule.tile * rule.tile;
      }
      if (k < rule.halved) all[k] = halved(rule, name, all[k]);
      out.push_back({names.made(members[0], here(members[0]).name, k), like.type, all[k].shape, like.tensor,
                     std::move(all[k].parts), true, true});
    }
  }

  const converted_tensor& here(const member& m) const { return now_[m.tensor]; }
  assembly assembly_of(const member& m) const {
    const converted_tensor& t = here(m);
    return t.assembled ? assembly{t.shape, t.parts} : assembly::whole(t.tensor, t.shape);
  }

  // All verbs but `stack`.
  std::vector<assembly> reshaped(const checkpoint::conversion& rule, const std::string& name,
                                 const std::vector<member>& members, std::size_t made,
                                 std::vector<assembly>&& all) const {
    using enum checkpoint::conversion::verb_t;
    std::vector<assembly> out;
    switch (rule.verb) {
      case transpose:
        check_dim(std::max(rule.dim, rule.dim_two), name, all[0].shape);
        out.push_back(transposed(std::move(all[0]), rule.dim, rule.dim_two));
        break;
      case concat: out.push_back(joined(rule, name, members, 0, std::move(all))); break;
      case interleave:
        check_dim(rule.dim, name, all[0].shape);
        for (const member& m : members) {
          if (!fits(here(m), here(members[0]), max_dims)) refuse_unlike(name, here(m), here(members[0]));
        }
        out.push_back(interleaved(std::move(all), rule.dim));
        break;
      case split: {
        check_dim(rule.dim, name, all[0].shape);
        std::size_t begin = 0;
        for (std::size_t n : shares_of(rule, name, all[0].shape[rule.dim], made)) {
          out.push_back(cut_out(all[0], rule.dim, begin, n));
          begin += n;
        }
        break;
      }
      case deinterleave: {
        check_dim(rule.dim, name, all[0].shape);
        const std::size_t turns = std::max<std::size_t>(made, 2), n = all[0].shape[rule.dim];
        if (n % turns != 0) refuse_split(name, n, turns);
        for (std::size_t k = 0; k < turns; ++k) out.push_back(cut_out(all[0], rule.dim, k, n / turns, turns));
        if (made != 1) break;
        assembly one = concatenated(std::move(out), rule.dim);
        out.clear();
        out.push_back(std::move(one));
        break;
      }
      default: out = std::move(all); break;
    }
    return out;
  }

  // Tensors from `members[first]` on, side by side.
  assembly joined(const checkpoint::conversion& rule, const std::string& name, const std::vector<member>& members,
                  std::size_t first, std::vector<assembly>&& all) const {
    if (all.size() == 1) return std::move(all[0]);
    check_dim(rule.dim, name, all[0].shape);
    for (std::size_t k = 1; k < all.size(); ++k) {
      const converted_tensor &a = here(members[first]), &b = here(members[first + k]);
      bool fit = a.type == b.type && all[k].shape.dims() == all[0].shape.dims();
      for (std::size_t d = 0; fit && d < all[0].shape.dims(); ++d) {
        fit = d == rule.dim || all[k].shape[d] == all[0].shape[d];
      }
      if (!fit) refuse_unlike(name, b, a);
    }
    return concatenated(std::move(all), rule.dim);
  }

  assembly halved(const checkpoint::conversion& rule, std::string_view name, const assembly& a) const {
    const std::size_t heads = required(rule.heads, name);
    if (a.shape.dims() == 0 || a.shape[0] % (2 * heads) != 0) {
      raise(checkpoint_error(in_quotes(name), " has the shape ", shape_text(a.shape),
                             ", whose rows are not pairs of rows of ", heads, " heads (", rule.heads, ")"));
    }
    return halves_of_heads(a, heads);
  }

  std::vector<std::size_t> shares_of(const checkpoint::conversion& rule, std::string_view name, std::size_t extent,
                                     std::size_t made) const {
    std::vector<std::size_t> shares(made, 1);
    for (std::size_t k = 0; k < rule.shares.count; ++k) shares[k] = required(rule.shares.at[k], name);
    std::size_t sum = 0;
    for (std::size_t n : shares) sum += n;
    if (extent % sum != 0) refuse_split(name, extent, sum);
    for (std::size_t& n : shares) n *= extent / sum;
    return shares;
  }

  // Is a transpose done already? It can only be told where the two extents differ.
  bool already_done(const checkpoint::conversion& rule, const converted_tensor& t) const {
    if (rule.done.empty()) return false;
    const std::size_t other = rule.dim == rule.done_dim ? rule.dim_two : rule.dim;
    check_dim(std::max(rule.done_dim, other), t.name, t.shape);
    const std::size_t n = required(rule.done, t.name);
    const bool is = t.shape[rule.done_dim] == n, may_become = t.shape[other] == n;
    if (is != may_become) return is;
    raise(checkpoint_error(in_quotes(t.name), " has the shape ", shape_text(t.shape), ", and ", rule.done, " is ", n,
                           ": it cannot be told whether it is stored transposed; give rules of your own"));
  }

  static void check_dim(std::size_t dim, std::string_view name, const tensor_shape& shape) {
    if (dim < shape.dims()) return;
    raise(checkpoint_error("the conversion to ", in_quotes(name), " is along dim ", dim, " of a tensor of shape ",
                           shape_text(shape)));
  }
  static bool fits(const converted_tensor& a, const converted_tensor& b, std::size_t but_dim) {
    bool fit = a.type == b.type && a.shape.dims() == b.shape.dims();
    for (std::size_t d = 0; fit && d < a.shape.dims(); ++d) fit = d == but_dim || a.shape[d] == b.shape[d];
    return fit;
  }

  // How many are stacked: as many as the config says, or else up to the largest number there is.
  std::size_t count(const checkpoint::conversion& rule, std::string_view name,
                    const std::vector<member>& members) const {
    const std::size_t there = members.back().number + 1;
    const auto said = count_in_config(rule);
    if (!said) return there;
    if (there > *said) {
      raise(checkpoint_error(in_quotes(here(members.back()).name), " is more than ", in_quotes(name),
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
      for (const std::string_view field : rule.counted) {
        const auto n = config_->integer(section, field);
        if (!n || *n < 1 || *n > static_cast<std::int64_t>(fragment::max_number)) continue;
        if (found && *found != static_cast<std::size_t>(*n)) return std::nullopt;
        found = static_cast<std::size_t>(*n);
      }
    }
    return found;
  }
  // A number of the config without which `name` cannot be made: "section.field", or of the root or its text_config.
  std::size_t required(std::string_view field, std::string_view name) const {
    std::optional<std::int64_t> n;
    if (config_ != nullptr) {
      const std::size_t dot = field.rfind('.');
      const std::string_view section = dot == std::string_view::npos ? std::string_view() : field.substr(0, dot);
      const std::string_view key = dot == std::string_view::npos ? field : field.substr(dot + 1);
      n = config_->integer(section, key);
      if (!n && section.empty()) n = config_->integer("text_config", key);
      if (!n && !section.empty()) n = config_->integer("", key);  // the config of the submodel itself
    }
    if (n && *n >= 1 && *n <= static_cast<std::int64_t>(fragment::max_number)) return static_cast<std::size_t>(*n);
    raise(checkpoint_error("to make ", in_quotes(name), " the number ", in_quotes(field), " of ",
                           config_ == nullptr ? "a config is needed, and the source has none" : config_->where(),
                           config_ == nullptr ? "" : " is needed"));
  }

  // `members` are sorted, no two alike, and their numbers below `numbers`.
  void refuse_missing(std::string_view target, const rule_names& names, const std::vector<member>& members,
                      std::size_t numbers) const {
    const std::size_t kinds = names.from.size(), all = numbers * kinds;
    if (members.size() == all) return;
    std::string text;
    std::size_t named = 0;
    for (std::size_t i = 0, m = 0; i < all && named < 8; ++i) {
      if (m < members.size() && members[m].number == i / kinds && members[m].from == i % kinds) {
        ++m;
        continue;
      }
      member missing = members[0];
      if (names.counted) missing.place.numbers.back() = i / kinds;
      const std::string& like = here(missing).name;
      if (named++ != 0) text += ", ";
      text += in_quotes(like.substr(0, missing.skipped + missing.place.begin) +
                        names.from[i % kinds].with(missing.place) + like.substr(missing.skipped + missing.place.end));
    }
    const std::size_t missing = all - members.size();
    if (missing > named) text += " and " + std::to_string(missing - named) + " more";
    raise(checkpoint_error("the checkpoint has not all tensors of ", in_quotes(target), ": ", text,
                           missing == 1 ? " is" : " are", " missing"));
  }

  // Those of one kind must be alike.
  void refuse_unlike(std::string_view target, const std::vector<member>& members, std::size_t begin, std::size_t end,
                     std::size_t kind) const {
    const std::size_t kinds = members.size() == 0 ? 1 : members.back().from + 1;
    const converted_tensor& like = here(members[begin * kinds + kind]);
    for (std::size_t n = begin; n < end; ++n) {
      const converted_tensor& t = here(members[n * kinds + kind]);
      if (!fits(t, like, max_dims)) refuse_unlike(target, t, like);
    }
  }
  [[noreturn]] static void refuse_unlike(std::string_view target, const converted_tensor& a,
                                         const converted_tensor& b) {
    raise(checkpoint_error("the tensors of ", in_quotes(target), " do not fit together: ", in_quotes(a.name), " is ",
                           name_of(a.type), shape_text(a.shape), ", ", in_quotes(b.name), " is ", name_of(b.type),
                           shape_text(b.shape)));
  }
  [[noreturn]] static void refuse_split(std::string_view name, std::size_t extent, std::size_t shares) {
    raise(checkpoint_error("the tensor that ", in_quotes(name), " is split from is ", extent,
                           " long, which is no multiple of ", shares));
  }
  [[noreturn]] static void refuse_change(const checkpoint::conversion& rule, const converted_tensor& t) {
    raise(checkpoint_error(in_quotes(t.name), " is stored as ", rule.why, " reads it, which changes values and is not ",
                           "done here: convert the checkpoint first, or give rules of your own and take it as it is"));
  }

  std::span<const tensor_info> file_;
  const checkpoint::config* config_;
  std::vector<converted_tensor> now_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
