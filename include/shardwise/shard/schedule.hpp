// SPDX-License-Identifier: Apache-2.0
// Which collectives one step of a model makes, known from its sharding before anything runs.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
class schedule_maker;
}

/// One collective. `count` elements for each token: of the whole result, as `tally` counts it.
struct schedule_entry {
  collective op = collective::none;
  dtype type = dtype::f32;
  std::size_t count = 0;    ///< 0 where the plan does not say what is summed: see `schedule_of`
  std::string_view module;  ///< whose output it makes; lives as long as the sharding
  friend constexpr bool operator==(const schedule_entry&, const schedule_entry&) = default;
};

/// Entries in the order of the model's parameters, a module after what is in it. Immutable; reading is safe from any
/// thread. Made by `schedule_of`.
class schedule {
 public:
  std::size_t size() const { return entries_.size(); }
  const schedule_entry& operator[](std::size_t i) const { return entries_[i]; }
  const schedule_entry* begin() const { return entries_.begin(); }
  const schedule_entry* end() const { return entries_.end(); }

 private:
  friend class detail::schedule_maker;
  detail::list<schedule_entry> entries_;
};

namespace detail {

// Walks the modules of a sharding.
class schedule_maker {
 public:
  schedule_maker(const sharding& s, const dtype* activations) : s_(s), activations_(activations) {}

  schedule make() {
    own_.resize(s_.modules());
    below_.resize(s_.modules());
    last_.resize(s_.modules());
    each_name(
        [&](std::size_t number, std::string_view name, std::size_t parameter) { visit(number, name, parameter); });
    schedule made;
    each_name([&](std::size_t number, std::string_view name, std::size_t) {
      for_modules_above(name, [&](std::size_t m) {
        if (last_[m] == number) add(m, made.entries_);  // a module is done with its last parameter
      });
    });
    return made;
  }

 private:
  // What a module sums over the ranks.
  struct summed {
    std::size_t features = 0;
    dtype type = dtype::f32;
    bool agree = true;
    void take(std::size_t n, dtype t) {
      if (features == 0) type = t;
      agree &= features == 0 || features == n;
      features = n;
    }
  };

  // f(number, name, parameter): the parameters by their own names, then by the tied ones.
  template <class F>
  void each_name(F f) const {
    for (std::size_t i = 0; i < s_.size(); ++i) f(i, s_[i].name, i);
    for (std::size_t t = 0; t < s_.ties().size(); ++t) f(s_.size() + t, s_.ties()[t].alias, s_.ties()[t].kept);
  }
  // f(index of a module), from the inside out; the model itself, "", is the last.
  template <class F>
  void for_modules_above(std::string_view name, F f) const {
    while (!name.empty()) {
      const std::size_t dot = name.rfind('.');
      name = dot == std::string_view::npos ? std::string_view() : name.substr(0, dot);
      f(s_.find_module(name));
    }
  }

  // A parameter's sum is its module's, and that of all above up to the first that reduces it.
  void visit(std::size_t number, std::string_view name, std::size_t parameter) {
    const sharded_parameter& p = s_[parameter];
    const std::size_t features = features_of_sum(p);
    const bool vector = p.shape.dims() == 1 && p.covered() && !p.how.whole();
    bool direct = true, done = features == 0 && !vector;
    for_modules_above(name, [&](std::size_t m) {
      last_[m] = number;
      if (done) return;
      const bool reduces = s_.step(s_.module(m)).then() == collective::all_reduce;
      if (!vector) (direct ? own_ : below_)[m].take(features, p.type);
      if (vector && reduces) own_[m].take(1, p.type);  // of its own module alone
      done = reduces || vector;
      direct = false;
    });
  }

  void add(std::size_t m, list<schedule_entry>& to) const {
    const step s = s_.step(s_.module(m));
    if (s.then() == collective::all_reduce) {
      const summed& sum = own_[m].features != 0 ? own_[m] : below_[m];
      to.push({s.then(), type_or(sum.type), sum.agree ? sum.features : 0, s.module});
    } else if (s.then() == collective::gather_last_dim) {
      const std::size_t matrix = s_.matrix_of(m);
      const dtype type = matrix == sharding::npos ? dtype::f32 : s_[matrix].type;
      for (int g = 0; g < s.features.groups; ++g) {
        to.push({s.then(), type_or(type), chunk(s.extent, s.features.groups, g).size(), s.module});
      }
    }
  }

  // The features of the partial sum that a product with this parameter, or a look-up in it, makes; 0 if it makes none.
  // Of experts that are stored [experts, in, out] it is the first product that is cut so, of as many inputs.
  std::size_t features_of_sum(const sharded_parameter& p) const {
    const std::size_t dims = p.shape.dims();
    if (p.how.whole() || !p.covered() || dims < 2 || p.name.ends_with("bias")) return 0;
    const style_kind kind = s_.rules()[p.rule].how.kind;
    if (kind == style_kind::embedding_rowwise) return p.shape.last();
    if (kind == style_kind::embedding_colwise) return 0;
    return static_cast<std::size_t>(p.how.dim) + 1 == dims ? p.shape[dims - 2] : 0;
  }

  dtype type_or(dtype of_weight) const { return activations_ != nullptr ? *activations_ : of_weight; }

  const sharding& s_;
  const dtype* activations_;
  list<summed> own_, below_;  // by module: of its own parameters, and of those deeper
  list<std::size_t> last_;    // the number of the last name in it
};

}  // namespace detail

/// The collectives of one forward pass through all modules of `s`: what `run(s.step(module), ...)` calls, where each
/// module is run once. A gather of groups is one entry for each. The count of an all-reduce is the output features of
/// the module's parameter that is cut on its input features (a vocabulary's: its row), or, in a module without one, of
/// those below it that no other module reduces; 0 where these do not agree. A module that owns a cut vector and is
/// reduced, a norm over features that the ranks share, sums one number: that of the squares.
/// The elements are of the weights' dtype, or of `activations` where the engine computes in another.
inline schedule schedule_of(const sharding& s) { return detail::schedule_maker(s, nullptr).make(); }
inline schedule schedule_of(const sharding& s, dtype activations) {
  return detail::schedule_maker(s, &activations).make();
}

}  // namespace v0
}  // namespace shardwise
