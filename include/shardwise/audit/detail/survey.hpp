// SPDX-License-Identifier: Apache-2.0
// A plan matched once against a tree, at no number of ranks yet: what the audit and its views are calculated from.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/names.hpp"
#include "shardwise/detail/list.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/model/tree.hpp"
#include "shardwise/shard/examine.hpp"
#include "shardwise/shard/layout.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Parameters whose names differ in numbers only, with one shape, one dtype and one rule; or one of them.
struct parameter_class {
  std::string_view name;   ///< with stars where it stands for several
  std::string_view first;  ///< the first of them, as the tree has it
  std::size_t count = 0;
  dtype type = dtype::f32;
  tensor_shape shape;
  examined what;                      ///< at no number of ranks: never `does_not_divide`
  std::size_t module = 0;             ///< whose own it is
  std::size_t alias_of = tree::npos;  ///< of a tied name: the class whose storage it is
  constexpr std::size_t bytes() const { return shape.elements() * size_of(type); }  ///< of one, whole
  constexpr bool owns_bytes() const { return alias_of == tree::npos; }
};

/// The modules above them, likewise.
struct module_class {
  std::string_view name, first;
  std::size_t count = 0;
  owner who;
  std::size_t above = tree::npos;   ///< the module that it lies in; the model itself, "", has none
  std::size_t matrix = tree::npos;  ///< the parameter that its step works with
};

/// What a module does over the ranks for each token, once in every module of its class.
struct collective_class {
  std::size_t module = 0;
  collective op = collective::none;
  std::size_t features = 0;  ///< elements of the whole result; 0 where the plan does not say what is summed
  std::size_t calls = 1;     ///< one for each group of a packed gather
};

/// Reads nothing but the plan and the tree, which outlive it. Never throws for what a plan says.
class survey {
 public:
  /// `fold`: false where each name is to stand for itself.
  survey(plan_view rules, const tree& model, layout_view layout = {}, bool fold = true)
      : rules_(rules),
        model_(model),
        layout_(layout),
        numbers_(rules_name_numbers()),
        by_stars_(fold && !numbers_ && !layout_names_numbers()),
        use_(rules) {
    if (!build()) {  // layers of one name have different shapes: each name stands for itself
      parameters_.clear();
      modules_.clear();
      class_of_.clear();
      parameter_index_ = name_index();
      module_index_ = name_index();
      concrete_ = name_index();
      by_stars_ = false;
      build();
    }
    find_collectives();
  }

  plan_view rules() const { return rules_; }
  const tree& model() const { return model_; }
  layout_view layout() const { return layout_; }
  /// Which rules speak of any of its names.
  const rule_use& use() const { return use_; }
  /// False where each class is one name: some rule tells layers apart, or they differ in shape.
  bool folded() const { return by_stars_; }
  const std::vector<parameter_class>& parameters() const { return parameters_; }
  const std::vector<module_class>& modules() const { return modules_; }
  const std::vector<collective_class>& collectives() const { return collectives_; }
  /// The class of entry `i` of the tree.
  std::size_t class_of(std::size_t i) const { return class_of_[i]; }
  /// The class of the parameter (a tied name is one too), or of the module, of this name; `npos` if there is none.
  std::size_t find_parameter(std::string_view name) const { return parameter_index_.find(key_of(name)); }
  std::size_t find_module(std::string_view name) const { return concrete_.find(name); }

  /// The style that a module's step is of; null where no rule, or one that changes nothing, owns it.
  const style* step_of(std::size_t module) const {
    const owner& who = modules_[module].who;
    if (who.rule == no_rule || !rules_[who.rule].how.has_module_half()) return nullptr;
    return &rules_[who.rule].how;
  }
  collective then(std::size_t module) const {
    const style* s = step_of(module);
    return s == nullptr ? collective::none : s->facts().then;
  }

  /// Does a module's step do anything at this number of ranks? Not where its weight then is whole: `style::or_whole`.
  bool acts_at(std::size_t module, int tp) const {
    const style* step = step_of(module);
    if (step == nullptr || !step->whole_if_refused || modules_[module].matrix == tree::npos) return step != nullptr;
    return !parameters_[modules_[module].matrix].what.how_at(tp).whole();
  }

 private:
  // Does a rule tell layers apart?
  bool rules_name_numbers() const {
    for (const rule& r : rules_) {
      if (names_a_number(r)) return true;
    }
    return false;
  }
  bool layout_names_numbers() const {
    for (const layout_row& row : layout_) {
      if (names_a_number(row.named)) return true;
    }
    return false;
  }

  std::string key_of(std::string_view name) const { return by_stars_ ? starred(name) : std::string(name); }

  bool build() {
    class_of_.reserve(model_.size());
    for (const tree_entry& e : model_) {
      const std::size_t at = add(e.name, e.type, e.shape, tree::npos);
      if (at == tree::npos) return false;
      class_of_.push_back(at);
    }
    for (const tied_name& t : model_.ties()) {
      const tree_entry& e = model_[t.kept];
      if (add(t.alias, e.type, e.shape, class_of_[t.kept]) == tree::npos) return false;
    }
    return true;
  }

  std::size_t add(std::string_view name, dtype type, const tensor_shape& shape, std::size_t alias_of) {
    const std::string key = key_of(name);
    std::size_t at = parameter_index_.find(key);
    if (at == name_index::npos) {
      parameter_class p;
      p.first = name;
      p.name = texts_.keep(key);
      p.type = type;
      p.shape = shape;
      p.what = examine_owned(rules_, model_, name, shape, owner_of(name, false), layout_);
      p.alias_of = alias_of;
      at = parameters_.size();
      parameters_.push_back(p);
      parameter_index_.add(parameters_[at].name, at);
    }
    parameter_class& p = parameters_[at];
    if (p.type != type || !(p.shape == shape) || p.alias_of != alias_of) return tree::npos;
    ++p.count;
    p.module = add_module(module_of(name));
    module_class& m = modules_[p.module];
    if (leaf_of(name) == "weight" || (m.matrix == tree::npos && shape.dims() > 1)) m.matrix = at;
    return at;
  }

  // Names that differ in numbers only have one owner, unless a rule names a number: it is asked for once.
  owner owner_of(std::string_view name, bool module) {
    const auto ask = [&] { return module ? use_.module(name) : use_.parameter(name); };
    if (by_stars_ || numbers_) return ask();
    const std::string key = starred(name);
    name_index& known = known_[module ? 1 : 0];
    std::size_t at = known.find(key);
    if (at == name_index::npos) {
      at = owners_.size();
      owners_.push_back(ask());
      known.add(texts_.keep(key), at);
    }
    return owners_[at];
  }

  // Whatever a parameter's name has above it, up to the model itself.
  std::size_t add_module(std::string_view name) {
    if (const std::size_t known = concrete_.find(name); known != name_index::npos) return known;
    const std::string key = key_of(name);
    std::size_t at = module_index_.find(key);
    if (at == name_index::npos) {
      module_class m;
      m.first = name;
      m.name = texts_.keep(key);
      m.who = owner_of(name, true);
      at = modules_.size();
      modules_.push_back(m);
      module_index_.add(modules_[at].name, at);
    }
    ++modules_[at].count;
    concrete_.add(name, at);
    if (!name.empty()) {
      const std::size_t above = add_module(module_of(name));
      modules_[at].above = above;
    }
    return at;
  }

  // As `schedule_of` finds them: a parameter's sum is its module's, and that of all above up to the first that reduces
  // it.
  void find_collectives() {
    struct summed {
      std::size_t features = 0;
      bool agree = true;
      void take(std::size_t n) {
        agree &= features == 0 || features == n;
        features = n;
      }
    };
    std::vector<summed> own(modules_.size()), below(modules_.size());
    std::vector<std::size_t> last(modules_.size());
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      const std::size_t features = features_of_sum(parameters_[i]);
      bool reduced = features == 0;
      for (std::size_t m = parameters_[i].module; m != tree::npos; m = modules_[m].above) {
        last[m] = i;
        if (reduced) continue;
        (m == parameters_[i].module ? own : below)[m].take(features);
        reduced = then(m) == collective::all_reduce;
      }
    }
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      for (std::size_t m = parameters_[i].module; m != tree::npos; m = modules_[m].above) {
        if (last[m] != i) continue;
        const collective op = then(m);
        if (op == collective::all_reduce) {
          const summed& sum = own[m].features != 0 ? own[m] : below[m];
          collectives_.push_back({m, op, sum.agree ? sum.features : 0, 1});
        } else if (op == collective::gather_last_dim) {
          if (modules_[m].matrix == tree::npos) {
            collectives_.push_back({m, op, 0, 1});
            continue;
          }
          const tensor_shape& shape = parameters_[modules_[m].matrix].shape;
          const cut c = cut_by(*step_of(m), shape.dims(), false).how;
          const std::size_t extent = c.whole() ? 0 : shape[static_cast<std::size_t>(c.dim)];
          collectives_.push_back({m, op, extent, c.groups});
        }
      }
    }
  }

  // The features of the partial sum that a product with this parameter, or a look-up in it, makes; 0 if it makes none.
  std::size_t features_of_sum(const parameter_class& p) const {
    const std::size_t dims = p.shape.dims();
    if (p.what.how.whole() || !p.what.covered() || dims < 2) return 0;
    const style_kind kind = rules_[p.what.who.rule].how.kind;
    if (kind == style_kind::embedding_rowwise) return p.shape.last();
    if (kind == style_kind::embedding_colwise) return 0;
    return static_cast<std::size_t>(p.what.how.dim) + 1 == dims ? p.shape[dims - 2] : 0;
  }

  plan_view rules_;
  const tree& model_;
  layout_view layout_;
  bool numbers_, by_stars_;
  rule_use use_;
  text_store texts_;
  std::vector<parameter_class> parameters_;
  std::vector<module_class> modules_;
  std::vector<collective_class> collectives_;
  std::vector<std::size_t> class_of_;
  name_index parameter_index_, module_index_, concrete_;
  std::vector<owner> owners_;  // of starred names
  name_index known_[2];        // of parameters and of modules, where in `owners_`
};

/// What the largest of `tp` ranks holds of `extent` elements that are cut so: the first, but where units are copied.
constexpr std::size_t most_of(const cut& c, std::size_t extent, int tp) {
  if (c.divided != division::uneven) return pieces_of(c, extent, tp, 0).size();
  std::size_t most = 0;
  for (int r = 0; r < tp; ++r) {
    const std::size_t n = pieces_of(c, extent, tp, r).size();
    most = n > most ? n : most;
  }
  return most;
}
/// The same of a parameter, in bytes.
constexpr std::size_t most_bytes(const parameter_class& p, int tp) {
  const cut how = p.what.how_at(tp);
  if (how.whole()) return p.bytes();
  const std::size_t extent = p.shape[static_cast<std::size_t>(p.what.how.dim)];
  return extent == 0 ? 0 : p.bytes() / extent * most_of(how, extent, tp);
}

/// Bytes that each rank sends for a result of `payload` bytes, by the ring that NCCL's algorithms have for a bound: an
/// all-reduce sends all but its own part twice, a gather once.
constexpr std::size_t sent_bytes(collective op, std::size_t payload, int tp) {
  const auto n = static_cast<std::size_t>(tp);
  const std::size_t once = payload / n * (n - 1) + payload % n * (n - 1) / n;
  return op == collective::all_reduce ? 2 * once : op == collective::gather_last_dim ? once : 0;
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
