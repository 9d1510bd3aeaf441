// SPDX-License-Identifier: Apache-2.0
// Every operation against plain loops over elements, there and back, on random tensors and compositions.
#include "shardwise/checkpoint/conversion.hpp"

#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/checkpoint/converted.hpp"
#include "shardwise/checkpoint/folder.hpp"
#include "shardwise/checkpoint/memory_source.hpp"
#include "shardwise/checkpoint/reverted.hpp"
#include "support.hpp"

using namespace support;
using sw::dtype;
using sw::tensor_shape;
using sw::tensor_view;
using sw::checkpoint::conversion;
using sw::checkpoint::converted;
using sw::checkpoint::reverted;
namespace convert = sw::checkpoint::convert;

static_assert(sw::tensor_source<sw::checkpoint::reverted_source<const sw::memory_source&>>);

namespace {

/// A tensor as a list of elements, and the operations on it as their definitions.
struct plain {
  tensor_shape shape;
  std::vector<float> values;

  float& at(const std::vector<std::size_t>& k) {
    std::size_t flat = 0;
    for (std::size_t d = 0; d < shape.dims(); ++d) flat = flat * shape[d] + k[d];
    return values[flat];
  }
  template <class F>
  static plain of(const tensor_shape& shape, F&& element) {
    plain p{shape, {}};
    for_each_index(shape, [&](const std::vector<std::size_t>& k) { p.values.push_back(element(k)); });
    return p;
  }
};

plain concat(std::vector<plain> all, std::size_t dim) {
  tensor_shape shape = all[0].shape;
  shape[dim] = 0;
  for (const plain& p : all) shape[dim] += p.shape[dim];
  return plain::of(shape, [&](std::vector<std::size_t> k) {
    std::size_t which = 0;
    while (k[dim] >= all[which].shape[dim]) k[dim] -= all[which++].shape[dim];
    return all[which].at(k);
  });
}
plain stack(std::vector<plain> all) {
  tensor_shape shape{all.size()};
  for (std::size_t n : all[0].shape) shape.push(n);
  return plain::of(shape, [&](const std::vector<std::size_t>& k) { return all[k[0]].at({k.begin() + 1, k.end()}); });
}
plain interleave(std::vector<plain> all, std::size_t dim) {
  tensor_shape shape = all[0].shape;
  shape[dim] *= all.size();
  return plain::of(shape, [&](std::vector<std::size_t> k) {
    const std::size_t which = k[dim] % all.size();
    k[dim] /= all.size();
    return all[which].at(k);
  });
}
plain transpose(plain p, std::size_t a, std::size_t b) {
  tensor_shape shape = p.shape;
  std::swap(shape[a], shape[b]);
  return plain::of(shape, [&](std::vector<std::size_t> k) {
    std::swap(k[a], k[b]);
    return p.at(k);
  });
}
plain part(plain p, std::size_t dim, std::size_t begin, std::size_t n, std::size_t every) {
  tensor_shape shape = p.shape;
  shape[dim] = n;
  return plain::of(shape, [&](std::vector<std::size_t> k) {
    k[dim] = begin + k[dim] * every;
    return p.at(k);
  });
}

/// Tensors by name, all of F32, and the same under the operations' definitions.
struct world {
  std::map<std::string, plain> all;
  sw::memory_source source() {
    sw::memory_source s;
    for (auto& [name, p] : all) s.add(name, tensor_view(p.values.data(), dtype::f32, p.shape));
    return s;
  }
};

template <class Source>
std::vector<float> floats_of(const Source& source, const std::string& name) {
  const auto bytes = whole(source, name);
  std::vector<float> values(bytes.size() / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

/// One random step: the rule, and what it does by its definition. Names are "t<number>"; each step makes new ones.
struct step_maker {
  dice& d;
  std::vector<std::string> texts;  // the rules refer to their names
  int next = 0;

  std::string fresh() { return "t" + std::to_string(next++); }
  std::string pick(const world& w) {
    auto it = w.all.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(d.below(w.all.size())));
    return it->first;
  }
  const char* kept(const std::string& s) { return texts.emplace_back(s).c_str(); }

  conversion make(world& w) {
    const std::string name = pick(w), a = fresh(), b = fresh();
    const char *from = kept("^" + name), *to = kept(a), *to_b = kept(b);
    plain p = w.all.at(name);
    const std::size_t dims = p.shape.dims(), dim = dims == 0 ? 0 : d.below(dims);
    const std::size_t n = dims == 0 ? 1 : p.shape[dim];
    w.all.erase(name);
    // Another of the same shape, for what takes two.
    std::string twin;
    for (const auto& [other, q] : w.all) {
      if (q.shape == p.shape) twin = other;
    }
    const auto two = [&](plain one, plain other) {
      w.all.insert({a, one});
      w.all.insert({b, other});
    };
    switch (d.below(twin.empty() ? 4 : 6)) {
      case 0:
        if (dims < 2) break;
        {
          const std::size_t other = d.below(dims);
          w.all.insert({a, transpose(p, dim, other)});
          return convert::transpose(from, dim, other).into(to);
        }
      case 1:
        if (dims == 0 || n % 2 != 0) break;
        two(part(p, dim, 0, n / 2, 1), part(p, dim, n / 2, n / 2, 1));
        return convert::split(from).along(dim).into(to, to_b);
      case 2:
        if (dims == 0 || n % 2 != 0) break;
        two(part(p, dim, 0, n / 2, 2), part(p, dim, 1, n / 2, 2));
        return convert::deinterleave(from).along(dim).into(to, to_b);
      case 3:
        if (dims == 0 || n % 2 != 0) break;
        w.all.insert({a, concat({part(p, dim, 0, n / 2, 2), part(p, dim, 1, n / 2, 2)}, dim)});
        return convert::deinterleave(from).along(dim).into(to);
      case 4:
        if (dims == 0) break;
        {
          const plain q = w.all.at(twin);
          w.all.erase(twin);
          const bool turns = d.below(2) == 0;
          w.all.insert({a, turns ? interleave({p, q}, dim) : concat({p, q}, dim)});
          const char* second = kept("^" + twin);
          return (turns ? convert::interleave(from, second) : convert::concat(from, second)).along(dim).into(to);
        }
      default: break;
    }
    w.all.insert({a, p});
    return convert::rename(from, to);
  }
};

}  // namespace

TEST_CASE("every operation and any composition of them is its definition, and its reverse gives the same bytes") {
  dice d(11);
  for (int round = 0; round < 400; ++round) {
    INFO("round " << round);
    world file;
    float count = 0;
    std::vector<tensor_shape> shapes_used;
    for (int t = 0; t < 4; ++t) {
      tensor_shape shape;
      if (t % 2 == 1) {
        shape = shapes_used.back();  // two of each shape, so that they can be joined
      } else {
        for (std::size_t dims = d.below(5); dims > 0; --dims) shape.push(d.below(7) == 0 ? 0 : 1 + d.below(4));
      }
      shapes_used.push_back(shape);
      file.all.insert({"f" + std::to_string(t), plain::of(shape, [&](const auto&) { return count++; })});
    }
    world model = file;
    step_maker steps{d, {}};
    steps.texts.reserve(200);
    std::vector<conversion> rules;
    for (std::size_t n = 1 + d.below(8); n > 0; --n) rules.push_back(steps.make(model));

    const sw::memory_source source = file.source();
    const auto ours = converted(source, rules);
    REQUIRE(ours.size() == model.all.size());
    for (auto& [name, expected] : model.all) {
      INFO(name);
      const std::size_t at = ours.find(name);
      REQUIRE(at != ours.npos);
      CHECK(ours.info(at).shape == expected.shape);
      CHECK(floats_of(ours, name) == expected.values);
      // A box, with the boxes of the files' tensors that it is: each element once, and no other is read.
      sw::box what = sw::box::whole(expected.shape);
      for (std::size_t k = 0; k < expected.shape.dims(); ++k) {
        what.offset[k] = d.below(expected.shape[k] + 1);
        what.extent[k] = d.below(expected.shape[k] - what.offset[k] + 1);
      }
      std::vector<float> out(what.elements());
      const std::size_t before = source.bytes_read();
      ours.read(at, what, tensor_view(out.data(), dtype::f32, what.extent));
      CHECK(source.bytes_read() - before == out.size() * sizeof(float));
      std::size_t in_boxes = 0;
      for (const auto& b : ours.boxes(at, what)) in_boxes += b.what.elements();
      CHECK(in_boxes == what.elements());
      std::size_t i = 0;
      for_each_index(what.extent, [&, &whole = expected](std::vector<std::size_t> k) {
        for (std::size_t dim = 0; dim < k.size(); ++dim) k[dim] += what.offset[dim];
        CHECK(out[i++] == whole.at(k));
      });
    }

    const sw::memory_source trained = model.source();
    const auto back = reverted(trained, ours);
    CHECK(shapes_of(back) == shapes_of(source));
    for (auto& [name, original] : file.all) CHECK(floats_of(back, name) == original.values);
  }
}

TEST_CASE("stacks of experts, rotary halves and shares are their definitions, and go back too") {
  using namespace convert;
  world file;
  float count = 0;
  const auto add = [&](const std::string& name, const tensor_shape& shape) {
    file.all.insert({name, plain::of(shape, [&](const auto&) { return count++; })});
    return file.all.at(name);
  };
  std::vector<plain> gate, up, down;
  for (int e = 0; e < 5; ++e) {
    const std::string expert = "l.experts." + std::to_string(e);
    gate.push_back(add(expert + ".w1", {2, 3}));
    up.push_back(add(expert + ".w3", {4, 3}));
    down.push_back(add(expert + ".w2", e < 3 ? tensor_shape{3, 2} : tensor_shape{3, 1}));
  }
  plain qkv = add("qkv.weight", {16, 3}), bias = add("qkv.bias", {16});
  const plain w13 = add("w13", {2, 6, 3});
  const std::vector<conversion> rules = {
      convert::stack("experts.*.w1", "experts.*.w3").into("gate_up"),
      convert::stack("experts.*.w2").into("text.down", "vision.down"),  // the first three of five, and the last two
      split("qkv").by("heads", "kv", "kv").halved_by_head("heads", 1).into("q", "k", "v"),
      deinterleave("w13").along(1).into("w1", "w3"),
  };
  const sw::memory_source tensors = file.source();
  const with_config source{tensors, sw::checkpoint::config::parse(R"({"text_config":{"heads":2,"kv":1}})")};
  const auto model = converted(source, rules);

  world expected;
  expected.all = {{"l.gate_up", concat({stack(gate), stack(up)}, 1)},
                  {"l.text.down", stack({down[0], down[1], down[2]})},
                  {"l.vision.down", stack({down[3], down[4]})},
                  {"k.weight", part(qkv, 0, 8, 4, 1)},
                  {"v.weight", part(qkv, 0, 12, 4, 1)},
                  {"k.bias", part(bias, 0, 8, 4, 1)},
                  {"v.bias", part(bias, 0, 12, 4, 1)},
                  {"w1", part(w13, 1, 0, 3, 2)},
                  {"w3", part(w13, 1, 1, 3, 2)}};
  // Two heads of four rows: 0, 2 | 1, 3 of each.
  const std::size_t rows[] = {0, 2, 1, 3, 4, 6, 5, 7};
  expected.all["q.weight"] = plain::of({8, 3}, [&](const auto& k) { return qkv.at({rows[k[0]], k[1]}); });
  expected.all["q.bias"] = plain::of({8}, [&](const auto& k) { return bias.at({rows[k[0]]}); });
  REQUIRE(model.size() == expected.all.size());
  for (auto& [name, p] : expected.all) {
    INFO(name);
    CHECK(model.info(model.find(name)).shape == p.shape);
    CHECK(floats_of(model, name) == p.values);
  }
  const sw::memory_source trained = expected.source();
  const auto back = reverted(trained, model);
  for (auto& [name, p] : file.all) CHECK(floats_of(back, name) == p.values);
}

TEST_CASE("a golden that was loaded is saved as it was found, and what cannot be is refused") {
  for (const char* name : {"mixtral", "qwen3_5_moe"}) {
    INFO(name);
    const auto file = sw::checkpoint::open(golden(name));
    const auto model = converted(file);
    const auto back = reverted(model, model);
    REQUIRE(back.size() == file.size());
    for (std::size_t i = 0; i < file.size(); ++i) {
      CHECK(back.info(i).name == file.info(i).name);
      CHECK((whole(back, file.info(i).name) == whole(file, file.info(i).name)));
    }
  }
  float values[4] = {};
  sw::memory_source file, other, none;
  file.add("a.0.w", tensor_view(values, dtype::f32, {2})).add("a.1.w", tensor_view(values, dtype::f32, {2}));
  const auto one = converted(file, std::vector{convert::one_of("a.*.w", "w")});
  const auto fails = [&](const sw::memory_source& model, const std::string& text) {
    CHECK_THROWS_MATCHES(reverted(model, one), sw::checkpoint_error, says(text));
  };
  fails(none, "the model does not have 'w'");
  other.add("w", tensor_view(values, dtype::f32, {3}));
  fails(other, "'w' has the shape [3] in the model, and [2]");
  sw::memory_source same;
  same.add("w", tensor_view(values, dtype::f32, {2}));
  fails(same, "'a.1.w' is not in the model as a whole");
}

TEST_CASE("rules at random over names at random convert, or say what is wrong, and lose nothing") {
  const std::vector<const char*> segments = {"a", "b", "w", "0", "1", "2", "10"},
                                 from = {"a",  "b.*",    "^a.{b,w}", "**.w",    "*.w",
                                         ".w", "!{a.}b", "a.*.*",    "{^,a.}b", "b.*+1"},
                                 to = {"z", "z.*", "z.{}", "z.**", "b.*+2", "z", "", "^z"};
  dice d(5);
  const auto any = [&](const std::vector<const char*>& of) { return of[d.below(of.size())]; };
  std::size_t converted_well = 0, refused = 0;
  std::vector<float> values(64);
  for (int round = 0; round < 3000; ++round) {
    sw::memory_source file;
    std::size_t elements = 0;
    for (std::size_t n = 1 + d.below(4); n > 0; --n) {
      std::string name = any(segments);
      for (std::size_t more = d.below(4); more > 0; --more) name += std::string(".") + any(segments);
      tensor_shape shape;
      for (std::size_t dims = d.below(3); dims > 0; --dims) shape.push(d.below(4) == 0 ? 3 : 2);
      if (file.find(name) != file.npos) continue;
      file.add(name, tensor_view(values.data(), dtype::f32, shape));
      elements += shape.elements();
    }
    std::vector<conversion> rules;
    for (std::size_t n = 1 + d.below(3); n > 0; --n) {
      conversion c = convert::make(static_cast<conversion::verb_t>(d.below(8)), any(from), d.below(3));
      if (c.verb == conversion::one_of) c.verb = conversion::rename;  // it leaves tensors out, as it says
      if (d.below(4) == 0) c.from = sw::checkpoint::rule_texts(any(from), any(from));
      c = d.below(3) == 0 ? c.into(any(to), any(to)) : c.into(any(to));
      c.dim_two = d.below(3);
      if (d.below(5) == 0) c = c.under("a");
      if (d.below(5) == 0) c = c.where(any(from));
      rules.push_back(c);
    }
    try {
      const auto model = converted(file, rules);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < model.size(); ++i) {
        CHECK(model.find(model.info(i).name) == i);
        kept += model.info(i).shape.elements();
        whole(model, model.info(i).name);
      }
      CHECK(kept == elements);
      converted_well += 1;
    } catch (const sw::plan_error&) {
      refused += 1;
    } catch (const sw::checkpoint_error&) {
      refused += 1;
    }
  }
  CHECK(converted_well > 100);
  CHECK(refused > 200);
}
