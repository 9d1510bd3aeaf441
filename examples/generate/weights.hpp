// SPDX-License-Identifier: Apache-2.0
// The weights of one rank.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/load.hpp"
#include "shardwise/run/product.hpp"
#include "shardwise/shard/sharding.hpp"
#include "tensor.hpp"

namespace generate {

/// A rank's part of a parameter, and what the plan says of it.
struct weight {
  const sw::sharded_parameter* parameter = nullptr;
  tensor local;
};

/// Every parameter of a sharding, as large as this rank's part of it. Filled by `load`.
class weights {
 public:
  weights(const sw::sharding& sharding, int rank) : sharding_(&sharding), rank_(rank), asked_for_(sharding.size()) {
    for (std::size_t i = 0; i < sharding.size(); ++i) locals_.emplace_back(sharding.local_shape(i, rank));
  }

  /// Reads this rank's slices, and nothing else, out of any `tensor_source`.
  template <class Source>
  void load(const Source& source) {
    sw::load(*sharding_, rank_, source, [&](const sw::sharded_parameter& p, const sw::tensor_shape&) -> tensor& {
      return locals_[sharding_->find(p.name)];
    });
  }

  /// The parameter of that name, whose whole shape must be `shape`. Throws `checkpoint_error`.
  weight at(std::string_view name, const sw::tensor_shape& shape) {
    const std::size_t i = sharding_->find(name);
    if (i == sw::sharding::npos) {
      throw sw::checkpoint_error("the checkpoint has no '", name, "', which a model of this type needs");
    }
    const sw::sharded_parameter& p = (*sharding_)[i];
    if (!(p.shape == shape)) {
      throw sw::checkpoint_error("'", name, "' has the shape ", text_of(p.shape), ", and by the config it should be ",
                                 text_of(shape));
    }
    asked_for_[i] = true;
    return {&p, locals_[i]};
  }
  /// The same of one that the engine can use only whole: a norm's scale. Throws `placement_error` where it is cut.
  tensor whole(std::string_view name, const sw::tensor_shape& shape) {
    const weight w = at(name, shape);
    sw::whole(*w.parameter);
    return w.local;
  }
  /// Which rows of the whole parameter this rank holds; of rows in groups, those of the first.
  sw::interval rows_of(const weight& w) const { return part_of(w, 0); }
  /// The same of the last dim.
  sw::interval last_of(const weight& w) const { return part_of(w, w.parameter->shape.dims() - 1); }

  /// How many of the rows in `part` of the whole parameter this rank holds.
  std::size_t rows_within(std::string_view name, const sw::interval& part) const {
    const sw::slices s = sharding_->slices_of(sharding_->find(name), rank_);
    std::size_t rows = 0;
    for (std::size_t i = 0; i < s.count; ++i) {
      const std::size_t begin = std::max(part.begin, s.at[i].offset[0]);
      const std::size_t end = std::min(part.end, s.at[i].offset[0] + s.at[i].extent[0]);
      if (begin < end) rows += end - begin;
    }
    return rows;
  }

  /// Throws `checkpoint_error` for a parameter that no module has asked for: what the engine does not use, it does not
  /// know either, and its logits would be wrong.
  void refuse_unused() const {
    sw::checkpoint_error e("the engine has no place for ");
    std::size_t unused = 0;
    for (std::size_t i = 0; i < asked_for_.size(); ++i) {
      if (asked_for_[i] || unused++ > 0) continue;
      e.append(std::string_view("'"));
      e.append((*sharding_)[i].name);
      e.append(std::string_view("'"));
    }
    if (unused == 0) return;
    if (unused > 1) {
      e.append(std::string_view(" and "));
      e.append(unused - 1);
      e.append(std::string_view(" more"));
    }
    e.append(std::string_view(" of the checkpoint: it is no model of the type that its config.json says"));
    throw e;
  }

  const tensor& local(std::size_t i) const { return locals_[i]; }
  std::size_t bytes() const {
    std::size_t n = 0;
    for (const tensor& t : locals_) n += t.bytes();
    return n;
  }

 private:
  sw::interval part_of(const weight& w, std::size_t dim) const {
    const sw::slices s = sharding_->slices_of(sharding_->find(w.parameter->name), rank_);
    if (s.count == 0) return {};
    return {s.at[0].offset[dim], s.at[0].offset[dim] + s.at[0].extent[dim]};
  }
  static std::string text_of(const sw::tensor_shape& shape) {
    std::string s = "[";
    for (std::size_t n : shape) s += (s.size() > 1 ? ", " : "") + std::to_string(n);
    return s + "]";
  }

  const sw::sharding* sharding_;
  int rank_;
  std::vector<tensor> locals_;
  std::vector<bool> asked_for_;
};

}  // namespace generate
