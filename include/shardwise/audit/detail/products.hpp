// SPDX-License-Identifier: Apache-2.0
// What comes out of a product with a weight, and what must go in: where the features of both are.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/facts.hpp"
#include "shardwise/audit/flow.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Where features are over the ranks.
enum class spread : std::uint8_t { whole, cut, experts, partial };

/// A weight and the weight that takes its output, in one module.
struct linked {
  const edge* by;
  const audited *producer, *consumer;
  std::size_t out = 0, in = 0;  ///< the dims of the features, in the one and in the other
};

/// Every edge of the model, each once for parameters that are alike.
class products {
 public:
  explicit products(const facts& all) : all_(all) {
    for (const audited& c : all.groups) {
      if (!is_weight(c)) continue;
      const std::string_view parent = module_of(c.thing()), leaf = leaf_of(c.thing());
      for (const edge& e : usual_edges) {
        if (e.consumer == leaf) {
          for_words(e.producers, [&](std::string_view producer) { link(e, parent, producer, c); });
        }
      }
    }
  }

  const std::vector<linked>& links() const { return links_; }

  /// The module half that a weight's own module has: null for a bare parameter.
  const style* step_of(const audited& g) const {
    return g.leaf() == "weight" ? all_.module_style(g.module()) : nullptr;
  }
  /// What the product with `g`, whose output features are dim `out`, hands on.
  spread output_of(const audited& g, std::size_t out) const {
    if (!g.is_cut()) return spread::whole;
    if (const style* step = step_of(g)) {
      if (step->facts().output == placement(partial<>{})) return spread::partial;
      return step->facts().output == placement(replicated{}) ? spread::whole : spread::cut;
    }
    const auto dim = static_cast<std::size_t>(g.x.how.dim);
    if (dim == out) return spread::cut;
    return dim == 0 && g.shape.dims() > 2 ? spread::experts : spread::partial;
  }
  /// What it takes. `partial`: it takes all of the input, and its output is cut.
  spread input_of(const audited& g, std::size_t in) const {
    if (!g.is_cut()) return spread::whole;
    if (const style* step = step_of(g)) {
      return step->facts().input == placement(replicated{}) ? spread::whole : spread::cut;
    }
    const auto dim = static_cast<std::size_t>(g.x.how.dim);
    if (dim == in) return spread::cut;
    return dim == 0 && g.shape.dims() > 2 ? spread::experts : spread::partial;
  }
  /// The dim of the output features: the last but one, but for stacked experts that are stored transposed.
  std::size_t out_dim(const audited& g) const {
    for (const linked& l : links_) {
      if (l.producer == &g) return l.out;
      if (l.consumer == &g && g.shape.dims() == 3) return 3 - l.in;
    }
    return g.shape.dims() < 2 ? 0 : g.shape.dims() - 2;
  }
  std::size_t in_dim(const audited& g) const {
    for (const linked& l : links_) {
      if (l.consumer == &g) return l.in;
      if (l.producer == &g && g.shape.dims() == 3) return 3 - l.out;
    }
    return g.shape.dims() < 2 ? 0 : g.shape.dims() - 1;
  }
  bool is_producer(const audited& g) const {
    for (const linked& l : links_) {
      if (l.producer == &g) return true;
    }
    return false;
  }
  bool is_consumer(const audited& g) const {
    for (const linked& l : links_) {
      if (l.consumer == &g) return true;
    }
    return false;
  }

 private:
  static bool is_weight(const audited& g) {
    return (g.shape.dims() == 2 || g.shape.dims() == 3) && !g.leaf().ends_with("bias") && !g.tied();
  }
  void link(const edge& e, std::string_view parent, std::string_view leaf, const audited& consumer) {
    const audited* p = all_.find(dotted(parent, leaf) + ".weight");
    if (p == nullptr) p = all_.find(dotted(parent, leaf));
    // What an attention ends with may be in a module of its own.
    if (p == nullptr && e.kind == edge::attention && !parent.empty()) {
      p = all_.find(dotted(module_of(parent), leaf) + ".weight");
    }
    if (p == nullptr || !is_weight(*p) || p->shape.dims() != consumer.shape.dims()) return;
    linked l{&e, p, &consumer, 0, 1};
    if (p->shape.dims() == 3) {
      const tensor_shape &a = p->shape, &b = consumer.shape;
      if (a[2] == b[1] && b[2] != 0 && a[1] % b[2] == 0) {
        l.out = 1;
        l.in = 2;
      } else if (a[1] == b[2] && b[1] != 0 && a[2] % b[1] == 0) {
        l.out = 2;
        l.in = 1;
      } else {
        return;
      }
    }
    links_.push_back(l);
  }

  const facts& all_;
  std::vector<linked> links_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise
