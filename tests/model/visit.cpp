// SPDX-License-Identifier: Apache-2.0
#include "shardwise/model/visit.hpp"

#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "shardwise/model/members.hpp"

namespace sw = shardwise;

namespace visited {
struct tensor {
  sw::tensor_shape shape;
};
struct linear {
  tensor weight;
  std::optional<tensor> bias;
  SHARDWISE_MEMBERS(linear, weight, bias)
};
struct attention {
  linear q;
  SHARDWISE_MEMBERS(attention, q)
};
struct recurrence {
  tensor a_log;
  static consteval auto shardwise_members() { return sw::members<sw::field<&recurrence::a_log, "A_log">>{}; }
};
class model {
 public:
  SHARDWISE_MEMBERS(model, layers_, norm_, pair_, head)
  std::vector<std::variant<attention, recurrence>> layers_;
  linear head;
  std::unique_ptr<tensor> norm_;

 private:
  tensor pair_[2] = {{{7}}, {{8}}};
};
}  // namespace visited
template <>
inline constexpr bool sw::is_parameter<visited::tensor> = true;
template <>
struct sw::tensor_traits<visited::tensor> {
  static tensor_view view(visited::tensor& t) { return {nullptr, dtype::f16, t.shape}; }
};

TEST_CASE("every parameter of an object is visited once, under the names of the schema", "[model]") {
  visited::model m;
  visited::attention a;
  a.q.weight.shape = {3, 4};
  a.q.bias = visited::tensor{{3}};
  m.layers_.emplace_back(a);
  m.layers_.emplace_back(visited::recurrence{{{5}}});
  m.head.weight.shape = {6, 4};
  const sw::tree t = sw::tree_of(m);
  std::vector<std::string> names;
  for (const sw::tree_entry& e : t) names.emplace_back(e.name);
  CHECK(names == std::vector<std::string>{"layers.0.q.weight", "layers.0.q.bias", "layers.1.A_log", "pair.0", "pair.1",
                                          "head.weight"});
  CHECK(t[0].shape == sw::tensor_shape{3, 4});
  CHECK(t[0].type == sw::dtype::f16);
  m.norm_ = std::make_unique<visited::tensor>(visited::tensor{{9}});
  CHECK(sw::tree_of(m).find("norm") != sw::tree::npos);
}
