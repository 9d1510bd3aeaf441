// SPDX-License-Identifier: Apache-2.0
// A plan applied to a tree at a number of ranks: the only thing that `load` and `run` take, and `shard` its only maker.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/shard/layout.hpp"
#include "shardwise/shard/slice.hpp"
#include "shardwise/shard/step.hpp"

namespace shardwise {
inline namespace v0 {

/// What becomes of a parameter that no rule covers.
enum class uncovered : std::uint8_t {
  by_plan,  ///< refused; but whole where all rules are Hugging Face's, which leaves things whole silently
  refused,
  whole,
};

struct shard_options {
  int tp = 1;                  ///< the number of ranks
  std::string_view only = "";  ///< patterns, separated by blanks: the part of the model that a pipeline stage holds
  layout_view layout = {};     ///< what the dims of the engine's parameters are made of
  uncovered holes = uncovered::by_plan;
};

/// A parameter and its cut.
struct sharded_parameter {
  std::string_view name;
  std::string_view stored_as;  ///< its name in the checkpoint: of a tied parameter, the one that is kept
  dtype type = dtype::f32;
  tensor_shape shape;            ///< of the whole tensor
  cut how;                       ///< whole, where no rule covers it
  std::uint16_t rule = no_rule;  ///< index in the plan

  constexpr bool covered() const { return rule != no_rule; }
  /// Where its elements are: `replicated`, or `sharded` on a dim; the last dim is -1.
  constexpr placement where() const {
    placement p;
    if (!how.whole()) {
      p.kind = placement::sharded;
      p.dim = how.dim + 1 == static_cast<int>(shape.dims()) ? -1 : how.dim;
    }
    return p;
  }
};

/// Immutable; reading is safe from any thread. Keeps its own copy of everything: plan and tree may go.
class sharding {
 public:
  static constexpr std::size_t npos = detail::name_index::npos;

  int tp() const { return tp_; }
  std::size_t size() const { return parameters_.size(); }
  const sharded_parameter& operator[](std::size_t i) const { return parameters_[i]; }
  const sharded_parameter* begin() const { return parameters_.begin(); }
  const sharded_parameter* end() const { return parameters_.end(); }
  /// The index of a parameter, by its own name or a tied one; `npos` if there is none.
  std::size_t find(std::string_view name) const { return names_.find(name); }
  /// The rules, in the order of the plan.
  const detail::list<rule>& rules() const { return rules_; }
  const detail::list<tied_name>& ties() const { return ties_; }
  /// Indices of the rules of a family's or an imported plan that match nothing in this model.
  const detail::list<std::uint16_t>& unmatched_rules() const { return unmatched_; }
  /// The pattern of rule `r`, as one text.
  std::string_view pattern(std::uint16_t r) const { return patterns_[r]; }
  /// True for a name that `only` leaves out: another pipeline stage holds it.
  bool outside(std::string_view name) const { return !detail::any_pattern_matches(only_, name); }

  /// A rank's slices of a parameter, and the shape that they make together.
  slices slices_of(std::size_t i, int rank) const {
    return shardwise::slices_of(parameters_[i].how, parameters_[i].shape, tp_, rank);
  }
  tensor_shape local_shape(std::size_t i, int rank) const {
    return local_shape_of(parameters_[i].how, parameters_[i].shape, tp_, rank);
  }
  /// Bytes of a parameter on one rank; of all parameters.
  std::size_t bytes(std::size_t i, int rank) const {
    return local_shape(i, rank).elements() * size_of(parameters_[i].type);
  }
  std::size_t bytes(int rank) const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < size(); ++i) n += bytes(i, rank);
    return n;
  }

  /// The modules: whatever a parameter's name has above it, in no order of meaning. A path, its index (`npos` if there
  /// is no such module), and the parameter that the module's step works with: its own matrix, `npos` without one.
  std::size_t modules() const { return module_list_.size(); }
  std::string_view module(std::size_t m) const { return module_list_[m].name; }
  std::size_t find_module(std::string_view path) const { return modules_.find(path); }
  std::size_t matrix_of(std::size_t m) const { return module_list_[m].weight; }

  /// The step of the module at `path`: of the rule that owns it, or one that does nothing.
  /// Throws `plan_error` for a module that the model does not have.
  struct step step(std::string_view path) const {
    const std::size_t at = find_module(path);
    if (at == npos) detail::raise(plan_error("the model has no module '", path, "' to take a step of"));
    const module_entry& m = module_list_[at];
    struct step s;
    s.module = m.name;
    s.tp = tp_;
    if (m.rule == no_rule) return s;
    s.how = rules_[m.rule].how;
    if (m.weight == npos) return s;
    const sharded_parameter& p = parameters_[m.weight];
    if (p.rule != no_rule && p.how.whole() && rules_[p.rule].how.whole_if_refused && s.how.whole_if_refused) {
      s.how = replicate;
      s.how.reason = rules_[p.rule].how.reason;
      return s;
    }
    s.features = cut_by(s.how, p.shape.dims(), false).how;
    if (s.features.whole()) return s;
    // The weight's own cut knows its units.
    if (p.how.dim == s.features.dim && p.how.groups == s.features.groups) s.features = p.how;
    s.extent = p.shape[static_cast<std::size_t>(s.features.dim)];
    return s;
  }

 private:
  friend sharding shard(plan_view, const tree&, const shard_options&);
  struct module_entry {
    std::string_view name;
    std::uint16_t rule = no_rule;
    std::size_t weight = npos;  // its own matrix, if it has one
  };
  sharding() = default;

  int tp_ = 1;
  std::string_view only_;
  detail::text_store texts_;
  detail::list<rule> rules_;
  detail::list<sharded_parameter> parameters_;
  detail::list<tied_name> ties_;
  detail::list<std::uint16_t> unmatched_;
  detail::list<std::string_view> patterns_;
  detail::list<module_entry> module_list_;
  detail::name_index names_, modules_;
};

}  // namespace v0
}  // namespace shardwise
