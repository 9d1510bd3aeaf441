// SPDX-License-Identifier: Apache-2.0
// Every form in which a C++ type may say what it is made of, and the schema that comes of it.
#include "shardwise/model/describe.hpp"

#include <array>
#include <cstdint>
#include <initializer_list>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "catch.hpp"
#include "shardwise/model/members.hpp"
#include "shardwise/model/schema.hpp"

namespace sw = shardwise;

namespace forms {

struct tensor {
  tensor() = default;
  tensor(const tensor&) = delete;
};

struct linear {
  tensor weight;
  std::optional<tensor> bias;
  SHARDWISE_MEMBERS(linear, weight, bias)
};

// Private members with a trailing underscore, and no way to copy one.
class norm {
 public:
  norm() = default;
  norm(const norm&) = delete;
  SHARDWISE_MEMBERS(norm, weight_)

 private:
  [[maybe_unused]] tensor weight_;
};

// Names that are no C++ names, and one whose underscore is its own.
struct recurrence {
  tensor a_log, dt, conv_;
  static consteval auto shardwise_members() {
    return sw::members<sw::field<&recurrence::a_log, "A_log">, sw::field<&recurrence::dt, "0">,
                       sw::field<&recurrence::conv_, "conv_">>{};
  }
};

// With virtual functions, and a base whose members the derived type describes.
struct module {
  virtual ~module() = default;
  virtual int forward() { return 0; }
};
struct attention : module {
  linear q, k;
  int heads = 0;  // not described: no parameter
  SHARDWISE_MEMBERS(attention, q, k)
};

// Not ours to change: described from outside.
struct foreign {
  linear gate;
};

// A holder of somebody's own.
template <class T>
struct handle {
  T* p = nullptr;
};

struct layer {
  std::variant<attention, recurrence> mixer;
  norm input_norm;
  SHARDWISE_MEMBERS(layer, mixer, input_norm)
};

struct model {
  std::vector<layer> layers;
  std::unique_ptr<linear> head;
  std::shared_ptr<norm> shared;
  norm* raw = nullptr;
  std::array<linear, 2> pair;
  linear three[3];
  std::list<std::optional<linear>> maybe;
  std::vector<std::vector<linear>> grid;
  std::vector<tensor> tensors;
  std::optional<foreign> outside;
  handle<linear> own;
  SHARDWISE_MEMBERS(model, layers, head, shared, raw, pair, three, maybe, grid, tensors, outside, own)
};

// Layers that are one of several kinds share what they share.
struct kind_a {
  norm input_norm;
  linear a;
  SHARDWISE_MEMBERS(kind_a, input_norm, a)
};
struct kind_b {
  linear b;
  norm input_norm;
  SHARDWISE_MEMBERS(kind_b, b, input_norm)
};
struct kinds {
  std::vector<std::variant<kind_a, kind_b>> layers;
  std::variant<std::monostate, linear> maybe;
  SHARDWISE_MEMBERS(kinds, layers, maybe)
};

// The same, with a parameter of their own after a module.
struct late_a {
  linear attn;
  tensor scale;
  SHARDWISE_MEMBERS(late_a, attn, scale)
};
struct late_b {
  linear attn;
  tensor scale;
  SHARDWISE_MEMBERS(late_b, attn, scale)
};
struct late_kinds {
  std::vector<std::variant<late_a, late_b>> layers;
  SHARDWISE_MEMBERS(late_kinds, layers)
};

struct only_a_parameter {
  tensor weight;
  SHARDWISE_MEMBERS(only_a_parameter, weight)
};
struct nothing {
  static consteval auto shardwise_members() { return sw::members<>{}; }
};

namespace {
struct hidden {
  tensor weight;
  SHARDWISE_MEMBERS(hidden, weight)
};
}  // namespace

#define TEN(m) m##0, m##1, m##2, m##3, m##4, m##5, m##6, m##7, m##8, m##9
struct hundred {
  tensor TEN(a), TEN(b), TEN(c), TEN(d), TEN(e), TEN(f), TEN(g), TEN(h), TEN(i), TEN(j);
  SHARDWISE_MEMBERS(hundred, TEN(a), TEN(b), TEN(c), TEN(d), TEN(e), TEN(f), TEN(g), TEN(h), TEN(i), TEN(j))
};
#undef TEN

}  // namespace forms

template <>
inline constexpr bool sw::is_parameter<forms::tensor> = true;
template <>
struct sw::describe<forms::foreign> {
  using type = sw::members<sw::field<&forms::foreign::gate>>;
};
template <>
struct sw::describe<std::monostate> {
  using type = sw::members<>;
};
template <class T>
struct sw::holder<forms::handle<T>> {
  using type = T;
  static constexpr bool repeats = false;
};

namespace {

static_assert(sw::described<forms::linear> && sw::described<forms::foreign> && !sw::described<int>);
static_assert(sw::holds<std::vector<int>> && sw::holds<int[3]> && sw::holds<std::unique_ptr<int>> && sw::holds<int*>);
static_assert(sw::holds<std::optional<int>> && sw::holds<std::variant<int, float>> && !sw::holds<int>);
static_assert(sw::schema<forms::late_kinds>.parameter_count == sw::schema<forms::linear>.parameter_count + 1);
static_assert(sw::field<&forms::linear::weight>::name == "weight");
static_assert(sw::field<&forms::recurrence::conv_>::name == "conv");

std::string text_of(const sw::detail::segments& s) {
  std::string t(sw::detail::length_of(s), ' ');
  sw::detail::write_path(s, t.data());
  return t;
}
template <class Model>
std::vector<std::string> parameters() {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < sw::schema<Model>.parameter_count; ++i) {
    all.push_back(text_of(sw::schema<Model>.parameter_path(i)));
  }
  return all;
}
template <class Model>
std::vector<std::string> modules() {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < sw::schema<Model>.module_count; ++i) {
    all.push_back(text_of(sw::schema<Model>.module_path(i)));
  }
  return all;
}
using names = std::vector<std::string>;

}  // namespace

TEST_CASE("a schema has a path for every parameter, in the order of the description", "[model]") {
  CHECK(parameters<forms::model>() == names{"layers.*.mixer.q.weight",
                                            "layers.*.mixer.q.bias",
                                            "layers.*.mixer.k.weight",
                                            "layers.*.mixer.k.bias",
                                            "layers.*.mixer.A_log",
                                            "layers.*.mixer.0",
                                            "layers.*.mixer.conv_",
                                            "layers.*.input_norm.weight",
                                            "head.weight",
                                            "head.bias",
                                            "shared.weight",
                                            "raw.weight",
                                            "pair.*.weight",
                                            "pair.*.bias",
                                            "three.*.weight",
                                            "three.*.bias",
                                            "maybe.*.weight",
                                            "maybe.*.bias",
                                            "grid.*.*.weight",
                                            "grid.*.*.bias",
                                            "tensors.*",
                                            "outside.gate.weight",
                                            "outside.gate.bias",
                                            "own.weight",
                                            "own.bias"});
}

TEST_CASE("the modules of a schema are the model, its described members and its containers", "[model]") {
  CHECK(modules<forms::attention>() == names{"", "q", "k"});
  CHECK(modules<forms::kinds>() ==
        names{"", "layers", "layers.*", "layers.*.input_norm", "layers.*.a", "layers.*.b", "maybe"});
}

TEST_CASE("what several kinds of a layer share is in the schema once", "[model]") {
  CHECK(parameters<forms::kinds>() == names{"layers.*.input_norm.weight", "layers.*.a.weight", "layers.*.a.bias",
                                            "layers.*.b.weight", "layers.*.b.bias", "maybe.weight", "maybe.bias"});
}

TEST_CASE("a model may be one module, empty, local to a file, or of a hundred members", "[model]") {
  CHECK(parameters<forms::only_a_parameter>() == names{"weight"});
  CHECK(modules<forms::only_a_parameter>() == names{""});
  CHECK(parameters<forms::nothing>().empty());
  CHECK(parameters<forms::hidden>() == names{"weight"});
  const names hundred = parameters<forms::hundred>();
  REQUIRE(hundred.size() == 100);
  CHECK(hundred.front() == "a0");
  CHECK(hundred.back() == "j9");
}
