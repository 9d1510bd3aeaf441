// SPDX-License-Identifier: Apache-2.0
// The products before an attention.
#pragma once
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "config.hpp"
#include "linear.hpp"

namespace generate {

/// Queries, keys and values of the heads that a rank has: three products, or one whose output has them side by side.
class query_key_value {
 public:
  struct result {
    value q, k, v;  ///< all placed alike
  };

  query_key_value(const context& c, const text_config& t, const std::string& path) : dim_(t.head_dim) {
    const std::size_t q = t.heads * t.head_dim * (t.gated ? 2 : 1), kv = t.key_value_heads * t.head_dim;
    if (t.fused) {
      q_.emplace(c, path + ".qkv_proj", t.hidden, q + 2 * kv, t.qkv_bias);
      whole_ = {q, kv, kv};
      std::size_t begin = 0;
      for (std::size_t i = 0; i < 3; begin += whole_[i++]) {
        mine_[i] = c.parameters.rows_within(path + ".qkv_proj.weight", {begin, begin + whole_[i]});
      }
      return;
    }
    q_.emplace(c, path + ".q_proj", t.hidden, q, t.qkv_bias);
    k_.emplace(c, path + ".k_proj", t.hidden, kv, t.qkv_bias);
    v_.emplace(c, path + ".v_proj", t.hidden, kv, t.qkv_bias);
  }

  /// `x` [tokens, hidden]. Collective. Throws `placement_error` where the plan cuts one unlike the others.
  result operator()(const value& x) const {
    value q = (*q_)(x);
    if (!k_) return parts_of(q);
    value k = (*k_)(x), v = (*v_)(x);
    same_placement({{q_->path(), q.where()}, {k_->path(), k.where()}, {v_->path(), v.where()}});
    return {std::move(q), std::move(k), std::move(v)};
  }
  std::string_view path() const { return q_->path(); }

 private:
  result parts_of(const value& all) const {
    const sw::placement where = same_placement({{path(), all.where()}});
    const widths& w = where == sw::placement(sw::replicated{}) ? whole_ : mine_;
    if (w[0] % dim_ != 0 || w[0] == 0 || w[1] == 0 || w[1] != w[2] || w[0] % w[1] != 0) {
      throw sw::placement_error("'", path(), "' is cut so that a rank has ", w[0], " columns of the queries, ", w[1],
                                " of the keys and ", w[2], " of the values, which are no heads of ", dim_,
                                " that belong together: cut each of the three by heads, or gather them "
                                "(colwise_gather_output)");
    }
    const auto part = [&](std::size_t begin, std::size_t extent) {
      return sw::assume_placed(where, sw::tensor_traits<tensor>::columns(all.local(), begin, extent));
    };
    return {part(0, w[0]), part(w[0], w[1]), part(w[0] + w[1], w[2])};
  }

  using widths = std::array<std::size_t, 3>;
  std::size_t dim_;
  std::optional<linear> q_, k_, v_;  // of a fused product the first alone
  widths whole_{}, mine_{};          // of its output; of this rank's part
};

}  // namespace generate
