// SPDX-License-Identifier: Apache-2.0
// `load`: a rank's slices of every parameter, from any source into the engine's own tensors.
#pragma once
#include <concepts>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/match/match.hpp"
#include "shardwise/shard/sharding.hpp"

namespace shardwise {
inline namespace v0 {

/// What a load may leave open, as patterns ("mtp.**"), and who is told how far it is.
struct load_options {
  std::vector<std::string> allow_missing = {};    ///< parameters that the source need not have; their tensors stay
  std::vector<std::string> allow_left_over = {};  ///< tensors of the source that the model need not have
  std::vector<std::string> allow_unwanted = {};   ///< parameters for which the engine may have no memory
  /// Called after each tensor. What it throws ends the load half done.
  std::function<void(std::size_t done_bytes, std::size_t total_bytes)> progress = {};
};

/// What a load did.
struct load_report {
  std::size_t tensors = 0;     ///< tensors that were filled
  std::size_t bytes_read = 0;  ///< bytes of the source's own types: the rank's slices and no more
};

/// The engine's tensors: called once for each parameter with its local shape, gives a `tensor_view`, or a tensor that
/// has `tensor_traits`.
template <class W>
concept local_tensors = std::invocable<W&, const sharded_parameter&, const tensor_shape&>;

/// The refusal of `load(plan, ...)`.
template <class Given>
struct load_needs_a_sharding {
  static_assert(std::same_as<Given, sharding>,
                "shardwise: load_needs_a_sharding<...>: load takes a sharding; make one with shard(plan, tree, "
                "{.tp = n})");
};

namespace detail {

class name_list_of_patterns {
 public:
  explicit name_list_of_patterns(const std::vector<std::string>& patterns) {
    for (const std::string& p : patterns) rules_.emplace_back(std::string_view(p), style{}, dialect::shardwise);
  }
  bool has(std::string_view name) const {
    if (rules_.empty()) return false;
    const segments path = split_name(name);
    for (const rule& r : rules_) {
      if (matches_module(r, path)) return true;
    }
    return false;
  }

 private:
  std::vector<rule> rules_;
};

// One parameter that will be filled.
struct planned_read {
  std::size_t parameter = 0, tensor = 0;
  tensor_view to;
};

// The end of a load whose tensors are in host memory: `check` is asked of each of them before the first byte is
// written, `read` brings a box of a tensor of the source to where it belongs. The other end is a device
// (cuda/load.hpp).
struct host_end {
  void check(const sharded_parameter&, const tensor_view&) const {}
  template <tensor_source Source>
  void read(const Source& source, std::size_t tensor, const box& what, const tensor_view& to) const {
    source.read(tensor, what, to);
  }
};

// What a load decides, wherever its bytes go: whether it can be meant, and which box of which tensor is read to where.
template <tensor_source Source>
class loader {
 public:
  loader(const sharding& s, int rank, const Source& source, const load_options& options)
      : sharding_(s), rank_(rank), source_(source), options_(options) {}

  /// Everything that can be wrong is found here.
  template <class Weights, class End>
  void check(Weights& weights, const End& end) {
    if (rank_ < 0 || rank_ >= sharding_.tp()) {
      raise(checkpoint_error("rank ", rank_, " was to load of a sharding over ", sharding_.tp(), " ranks"));
    }
    find_tensors();
    const name_list_of_patterns unwanted(options_.allow_unwanted);
    std::size_t kept = 0;
    for (planned_read& r : reads_) {
      const sharded_parameter& p = sharding_[r.parameter];
      const tensor_shape local = sharding_.local_shape(r.parameter, rank_);
      decltype(auto) tensor = weights(p, local);
      r.to = tensor_traits<std::remove_cvref_t<decltype(tensor)>>::view(tensor);
      if (!check_view(p, local, source_.info(r.tensor), r.to, unwanted)) continue;
      if (r.to.elements() != 0) end.check(p, r.to);
      total_ += local.elements() * size_of(source_.info(r.tensor).type);
      reads_[kept++] = r;
    }
    reads_.resize(kept);
  }

  template <class End>
  load_report read(End& end) const {
    load_report report;
    for (const planned_read& r : reads_) {
      const sharded_parameter& p = sharding_[r.parameter];
      const std::size_t element = size_of(source_.info(r.tensor).type);
      std::size_t along = 0;
      for (const box& slice : sharding_.slices_of(r.parameter, rank_)) {
        tensor_view to = r.to;
        if (!p.how.whole()) {
          const auto dim = static_cast<std::size_t>(p.how.dim);
          to = part_of(r.to, dim, along, slice.extent[dim]);
          along += slice.extent[dim];
        }
        end.read(source_, r.tensor, slice, to);
        report.bytes_read += slice.elements() * element;
      }
      ++report.tensors;
      if (options_.progress) options_.progress(report.bytes_read, total_);
    }
    return report;
  }

 private:
  void find_tensors() {
    name_index names;
    for (std::size_t i = 0; i < source_.size(); ++i) names.add(source_.info(i).name, i);

    const name_list_of_patterns may_be_missing(options_.allow_missing), may_be_left(options_.allow_left_over);
    std::vector<std::string_view> missing, left_over;
    for (std::size_t i = 0; i < sharding_.size(); ++i) {
      const std::size_t at = find_tied(names, i);
      if (at != name_index::npos) {
        check_shape(sharding_[i], source_.info(at));
        reads_.push_back({i, at, {}});
      } else if (!may_be_missing.has(sharding_[i].name)) {
        missing.push_back(sharding_[i].name);
      }
    }
    for (std::size_t i = 0; i < source_.size(); ++i) {
      const std::string_view name = source_.info(i).name;
      if (sharding_.find(name) != sharding::npos || sharding_.outside(name) || may_be_left.has(name)) continue;
      left_over.push_back(name);
    }
    if (missing.empty() && left_over.empty()) return;
    std::string text;
    if (!missing.empty()) text = "the checkpoint does not have " + name_list(missing);
    if (!left_over.empty()) {
      text += missing.empty() ? "" : ", and ";
      text += "the model does not have " + name_list(left_over) + " of the checkpoint";
    }
    raise(checkpoint_error(text, "; nothing was loaded: what is meant can be allowed with ",
                           missing.empty() ? "" : "allow_missing", missing.empty() || left_over.empty() ? "" : " and ",
                           left_over.empty() ? "" : "allow_left_over", " (a list of patterns)"));
  }

  // Of a tied parameter a checkpoint has one of the names.
  std::size_t find_tied(const name_index& names, std::size_t parameter) const {
    std::size_t at = names.find(sharding_[parameter].name);
    if (at == name_index::npos) at = names.find(sharding_[parameter].stored_as);
    for (const tied_name& t : sharding_.ties()) {
      if (at == name_index::npos && t.kept == parameter) at = names.find(t.alias);
    }
    return at;
  }

  static void check_shape(const sharded_parameter& p, const tensor_info& info) {
    if (info.shape == p.shape) return;
    raise(checkpoint_error(in_quotes(info.name), " has the shape ", shape_text(info.shape),
                           " in the checkpoint, and the model says ", shape_text(p.shape), "; nothing was loaded"));
  }

  // False: the engine has no memory for it, and may.
  bool check_view(const sharded_parameter& p, const tensor_shape& local, const tensor_info& info, const tensor_view& to,
                  const name_list_of_patterns& unwanted) const {
    if (to.data == nullptr && local.elements() != 0) {
      if (unwanted.has(p.name)) return false;
      raise(checkpoint_error("the engine gave no memory for ", in_quotes(p.name), ", ", shape_text(local), " on rank ",
                             rank_, "; if that is meant, allow it with allow_unwanted"));
    }
    if (!(to.shape == local)) {
      raise(checkpoint_error("the engine's tensor for ", in_quotes(p.name), " has the shape ", shape_text(to.shape),
                             ", and rank ", rank_, " of ", sharding_.tp(), " owns ", shape_text(local), " of ",
                             shape_text(p.shape), "; nothing was loaded"));
    }
    if (!castable(info.type, to.type)) {
      raise(checkpoint_error(in_quotes(p.name), " is ", name_of(info.type), " in the checkpoint and ", name_of(to.type),
                             " in the engine; only F32, F16 and BF16 are cast into each other"));
    }
    return true;
  }

  const sharding& sharding_;
  int rank_;
  const Source& source_;
  const load_options& options_;
  std::vector<planned_read> reads_;
  std::size_t total_ = 0;
};

}  // namespace detail

/// Fills the engine's tensors with what `rank` owns: reads the rank's slices of each parameter from `source`, under the
/// model's names, and nothing else, and casts them to the tensors' types. Not collective: each rank calls it for
/// itself, from any thread, also several at once on one source. May be called again on live tensors, with another
/// source.
///
/// `weights(parameter, local_shape)` gives the memory: the view's shape is `local_shape`, strides and (castable) type
/// are its own. Everything is checked before the first byte is written, so that a load that throws `checkpoint_error`
/// leaves live tensors as they were: shapes and types, parameters that the source does not have, and tensors of the
/// source that neither the model nor (under `shard_options::only`) another pipeline stage has, by name. A source that
/// itself fails while reading ends the load half done.
template <tensor_source Source, local_tensors Weights>
load_report load(const sharding& s, int rank, const Source& source, Weights&& weights,
                 const load_options& options = {}) {
  const detail::host_end end;
  detail::loader<Source> work(s, rank, source, options);
  work.check(weights, end);
  return work.read(end);
}

/// Does not compile, and says why: a plan is not a sharding.
template <class Given, class Source, class Weights>
requires(!std::convertible_to<const Given&, const sharding&>) load_report
    load(const Given&, int, const Source&, Weights&&, const load_options& = {}) {
  (void)load_needs_a_sharding<Given>{};
  return {};
}

}  // namespace v0
}  // namespace shardwise
