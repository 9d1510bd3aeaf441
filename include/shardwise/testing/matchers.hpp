// SPDX-License-Identifier: Apache-2.0
// Catch2 matchers for a plan's own CI: no GPU, no weights needed for the first, a checkpoint's bytes for the others.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "shardwise/audit/audit.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/match/tree_coverage.hpp"
#include "shardwise/shard/shard.hpp"
#include "shardwise/shard/unshard.hpp"
#include "shardwise/testing/catch.hpp"

namespace shardwise {
inline namespace v0 {
namespace testing {

/// `CHECK_THAT(tree, IsCoveredBy(plan))`: every parameter has a rule, no rule is idle, none ties. What `covers` says of
/// a described type, of the names in a checkpoint.
class IsCoveredBy : public detail::matcher_base<tree> {
 public:
  explicit IsCoveredBy(plan_view plan) : plan_(plan) {}
  bool match(const tree& model) const override {
    const coverage_verdict v = coverage_of(plan_, model);
    why_.clear();
    const auto name = [&](std::size_t total, const char* words, const auto& text_of) {
      for (std::size_t i = 0; i < total && i < named_findings; ++i) why_ += (i == 0 ? words : ", ") + text_of(i);
      if (total > named_findings) why_ += " and " + std::to_string(total - named_findings) + " more";
    };
    name(v.holes, "; no rule covers ", [&](std::size_t i) { return std::string(model[v.hole[i]].name); });
    name(v.ties, "; two rules are equally specific for ",
         [&](std::size_t i) { return std::string(model[v.tie[i]].name); });
    name(v.idle, "; these rules match nothing: ", [&](std::size_t i) {
      const auto& pattern = plan_[v.idle_rule[i]].pattern;
      std::string text(shardwise::detail::length_of(pattern), ' ');
      shardwise::detail::write_path(pattern, text.data());
      return text;
    });
    return bool(v);
  }
  std::string describe() const override { return "is covered by the plan" + why_; }

 private:
  plan_view plan_;
  mutable std::string why_;
};

/// `CHECK_THAT(audit(plan, tree, tp), IsClean())`: the audit has neither an error nor a warning.
class IsClean : public detail::matcher_base<audit_report> {
 public:
  bool match(const audit_report& report) const override {
    why_ = report.clean() ? "" : ":\n" + text_of(report);
    return report.clean();
  }
  std::string describe() const override { return "is clean" + why_; }

 private:
  mutable std::string why_;
};

/// `CHECK_THAT(source, RejoinsAfter(plan, tree, {1, 2, 4, 8}))`: at every size at which `shard` accepts the plan, the
/// slices of all ranks put together are the bytes of the source, and a cut parameter's bytes are on the ranks once. A
/// size that is refused is passed over; if all are, it does not match.
class RejoinsAfter : public detail::any_matcher_base {
 public:
  RejoinsAfter(plan_view plan, const tree& model, std::vector<int> sizes, shard_options options = {})
      : plan_(plan), model_(model), sizes_(std::move(sizes)), options_(options) {}

  template <tensor_source Source>
  bool match(const Source& source) const {
    bool any = false;
    why_.clear();
    for (const int tp : sizes_) {
      try {
        shard_options options = options_;
        options.tp = tp;
        const sharding s = shard(plan_, model_, options);
        any = true;
        if (!rejoins(s, source)) return false;
      } catch (const shard_error& e) {
        why_ += std::string("; tp ") + std::to_string(tp) + " was passed over: " + e.what();
      } catch (const error& e) {
        why_ += std::string("; ") + e.what();
        return false;
      }
    }
    if (!any) why_ += "; no size was legal";
    return any;
  }
  std::string describe() const override { return "rejoins to the same bytes after the cut" + why_; }

 private:
  template <tensor_source Source>
  bool rejoins(const sharding& s, const Source& source) const {
    for (std::size_t i = 0; i < s.size(); ++i) {
      std::size_t from = 0;
      while (from < source.size() && tensor_info(source.info(from)).name != s[i].stored_as) ++from;
      if (from == source.size()) {
        why_ += "; the source has no '" + std::string(s[i].name) + "'";
        return false;
      }
      const std::size_t bytes = s[i].shape.elements() * size_of(s[i].type);
      std::vector<std::byte> whole(bytes), joined(bytes);
      source.read(from, box::whole(s[i].shape), tensor_view(whole.data(), s[i].type, s[i].shape));
      std::vector<std::vector<std::byte>> pieces;
      std::vector<tensor_view> views;
      std::size_t held = 0;
      for (int r = 0; r < s.tp(); ++r) {
        pieces.emplace_back(s.bytes(i, r));
        held += pieces.back().size();
      }
      for (int r = 0; r < s.tp(); ++r) {
        views.emplace_back(pieces[static_cast<std::size_t>(r)].data(), s[i].type, s.local_shape(i, r));
        shard_tensor(s, i, r, tensor_view(whole.data(), s[i].type, s[i].shape), views.back());
      }
      unshard(s, i, views.data(), tensor_view(joined.data(), s[i].type, s[i].shape));
      const std::size_t expected = s[i].how.whole() ? bytes * static_cast<std::size_t>(s.tp()) : bytes;
      if (held != expected || whole != joined) {
        why_ += "; '" + std::string(s[i].name) + "' does not at tp " + std::to_string(s.tp());
        return false;
      }
    }
    return true;
  }

  plan_view plan_;
  const tree& model_;
  std::vector<int> sizes_;
  shard_options options_;
  mutable std::string why_;
};
/// An engine under test: given a rank's sharding and communicator it loads what it needs, and gives its output. Called
/// once on each rank.
using engine = std::function<std::vector<float>(const sharding&, in_process_communicator&)>;

/// `CHECK_THAT(my_engine, MatchesUnsharded(plan, tree, {2, 4}).within(1e-5))`: on in-process ranks, rank by rank, the
/// output at each size is the one at tp 1.
class MatchesUnsharded : public detail::matcher_base<engine> {
 public:
  MatchesUnsharded(plan_view plan, const tree& model, std::vector<int> sizes, shard_options options = {})
      : plan_(plan), model_(model), sizes_(std::move(sizes)), options_(options) {}

  /// The largest difference allowed; 0 if never called.
  MatchesUnsharded& within(double tolerance) {
    tolerance_ = tolerance;
    return *this;
  }

  bool match(const engine& run) const override {
    why_.clear();
    try {
      const std::vector<float> expected = outputs(run, 1)[0];
      if (sizes_.empty() || expected.empty()) {
        why_ = sizes_.empty() ? "; no sizes were given" : "; the engine gave no values";
        return false;
      }
      for (const int tp : sizes_) {
        int rank = 0;
        for (const std::vector<float>& output : outputs(run, tp)) {
          const std::string where = "; tp " + std::to_string(tp) + ", rank " + std::to_string(rank++);
          if (output.size() != expected.size()) {
            why_ += where + ": " + std::to_string(output.size()) + " values, and unsharded " +
                    std::to_string(expected.size());
            return false;
          }
          for (std::size_t i = 0; i < output.size(); ++i) {
            const double d = std::abs(static_cast<double>(output[i]) - static_cast<double>(expected[i]));
            if (d <= tolerance_) continue;  // a NaN is not
            why_ += where + ": value " + std::to_string(i) + " is " + std::to_string(output[i]) + ", and unsharded " +
                    std::to_string(expected[i]);
            return false;
          }
        }
      }
      return true;
    } catch (const error& e) {
      why_ += std::string("; ") + e.what();
      return false;
    }
  }
  std::string describe() const override { return "gives the unsharded output" + why_; }

 private:
  std::vector<std::vector<float>> outputs(const engine& run, int tp) const {
    shard_options options = options_;
    options.tp = tp;
    const sharding s = shard(plan_, model_, options);
    return in_process(tp, [&](in_process_communicator& comm) { return run(s, comm); });
  }

  plan_view plan_;
  const tree& model_;
  std::vector<int> sizes_;
  shard_options options_;
  double tolerance_ = 0;
  mutable std::string why_;
};

}  // namespace testing
}  // namespace v0
}  // namespace shardwise
