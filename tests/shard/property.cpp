// SPDX-License-Identifier: Apache-2.0
// unshard(shard(x)) == x, and who owns what, for random shapes, styles, groups, units and numbers of ranks.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/shard/shard.hpp"
#include "shardwise/shard/unshard.hpp"

namespace sw = shardwise;

namespace {

class dice {
 public:
  explicit dice(std::uint32_t seed) : engine_(seed) {}
  /// From 0 to n - 1.
  std::size_t below(std::size_t n) { return engine_() % n; }

 private:
  std::mt19937 engine_;
};

/// A tensor in memory that is larger than it: gaps between the elements of the last dim and between rows, which nobody
/// may touch.
class strided_tensor {
 public:
  strided_tensor(sw::dtype type, const sw::tensor_shape& shape, std::size_t gap) : view_(nullptr, type, shape) {
    std::size_t stride = 1 + gap;
    for (std::size_t d = shape.dims(); d-- > 0;) {
      view_.strides[d] = stride;
      stride = stride * shape[d] + gap;
    }
    bytes_.assign((stride + 1) * sw::size_of(type), untouched);
    view_.data = bytes_.data();
  }
  strided_tensor(strided_tensor&&) = default;
  const sw::tensor_view& view() const { return view_; }

  /// The bytes of the element at `at`.
  std::byte* element(const std::vector<std::size_t>& at) {
    std::size_t i = 0;
    for (std::size_t d = 0; d < at.size(); ++d) i += at[d] * view_.strides[d];
    return bytes_.data() + i * sw::size_of(view_.type);
  }
  /// Bytes of gaps that were written to.
  std::size_t touched_gaps() {
    std::vector<bool> owned(bytes_.size());
    for_each([&](const std::vector<std::size_t>& at) {
      for (std::size_t b = 0; b < sw::size_of(view_.type); ++b) {
        owned[static_cast<std::size_t>(element(at) - bytes_.data()) + b] = true;
      }
    });
    std::size_t n = 0;
    for (std::size_t i = 0; i < bytes_.size(); ++i) n += !owned[i] && bytes_[i] != untouched;
    return n;
  }
  template <class F>
  void for_each(F&& f) const {
    std::vector<std::size_t> at(view_.shape.dims(), 0);
    for (std::size_t n = view_.elements(); n != 0; --n) {
      f(static_cast<const std::vector<std::size_t>&>(at));
      for (std::size_t d = at.size(); d-- > 0;) {
        if (++at[d] < view_.shape[d]) break;
        at[d] = 0;
      }
    }
  }

 private:
  static constexpr std::byte untouched{0xA5};
  std::vector<std::byte> bytes_;
  sw::tensor_view view_;
};

/// What the plan of a trial says, for the reference that follows.
struct trial {
  sw::style how;
  bool imported = false;
  sw::tensor_shape shape;
  std::string name = "m.weight";
  std::size_t units = 0;
  int tp = 1;
};

/// The dim that the style cuts, told in the words of the style and not by the library; -1: whole.
int cut_dim(const trial& t) {
  const int dims = static_cast<int>(t.shape.dims());
  switch (t.how.kind) {
    case sw::style_kind::colwise:
    case sw::style_kind::colwise_gather_output: return dims >= 2 ? dims - 2 : dims - 1;
    case sw::style_kind::rowwise:
    case sw::style_kind::rowwise_split_input:
      if (dims == 1 && (t.name == "m.bias" || (t.imported && t.how.group_count > 1))) return -1;
      return dims - 1;
    case sw::style_kind::embedding_rowwise: return 0;
    case sw::style_kind::embedding_colwise: return 1;
    default: return -1;
  }
}

/// Which rank owns each position of a dim, by counting; empty where the plan cannot be cut so.
std::vector<std::size_t> owners(const trial& t, std::size_t extent) {
  const auto ranks = static_cast<std::size_t>(t.tp);
  const bool vector = t.shape.dims() == 1;
  const std::size_t groups = t.imported && vector ? 1 : t.how.group_count;
  std::vector<std::size_t> who;
  if (t.imported && t.units == 0) {
    const std::size_t group_step = (extent + groups - 1) / groups;
    std::vector<bool> has_some(ranks);
    for (std::size_t e = 0; e < extent; ++e) {
      const std::size_t group = e / group_step;
      const std::size_t size = std::min(extent, (group + 1) * group_step) - group * group_step;
      who.push_back((e - group * group_step) / ((size + ranks - 1) / ranks));
      has_some[who.back()] = true;
    }
    for (const bool some : has_some) {
      if (!some && groups > 1) return {};
    }
    return who;
  }
  if (extent % groups != 0) return {};
  const std::size_t group = extent / groups;
  const std::size_t units = t.units == 0 ? group : t.units;
  if (units == 0 || group % units != 0 || units % ranks != 0) return {};
  for (std::size_t e = 0; e < extent; ++e) who.push_back(e % group / (group / units) / (units / ranks));
  return who;
}

trial throw_trial(dice& d) {
  static const sw::style kinds[] = {sw::colwise,
                                    sw::rowwise,
                                    sw::colwise_gather_output,
                                    sw::rowwise_split_input,
                                    sw::embedding_rowwise,
                                    sw::embedding_colwise,
                                    sw::replicate,
                                    sw::colwise,
                                    sw::rowwise};
  trial t;
  t.tp = 1 + static_cast<int>(d.below(8));
  t.imported = d.below(2) == 0;
  t.how = kinds[d.below(std::size(kinds))];
  // Hugging Face has two packed styles; ours may gather a packed output too.
  const bool packs = t.how.kind == sw::style_kind::colwise || t.how.kind == sw::style_kind::rowwise ||
                     (!t.imported && t.how.kind == sw::style_kind::colwise_gather_output);
  if (packs && d.below(2) == 0) t.how = t.how.groups(2 + static_cast<int>(d.below(2)));
  if (t.how.kind != sw::style_kind::replicate && d.below(4) == 0) {
    t.how = t.how.units("heads");
    t.units = 1 + d.below(9);
  }
  const std::size_t dims = (t.how.kind == sw::style_kind::embedding_colwise ? 2 : 1) + d.below(3);
  for (std::size_t i = 0; i < dims; ++i) t.shape.push(1 + d.below(7));
  if (dims == 1 && d.below(2) == 0) t.name = "m.bias";
  // Mostly an extent that may well fit, so that most trials are cut.
  if (const int dim = cut_dim(t); dim >= 0 && d.below(5) != 0) {
    t.shape[static_cast<std::size_t>(dim)] = t.how.group_count * (t.units != 0 ? t.units : 1) *
                                             (t.imported ? 1 : static_cast<std::size_t>(t.tp)) * (1 + d.below(2));
    if (t.units != 0 && d.below(3) != 0) {
      t.shape[static_cast<std::size_t>(dim)] *= static_cast<std::size_t>(t.tp);
      t.units *= static_cast<std::size_t>(t.tp);
    }
  }
  return t;
}

}  // namespace

TEST_CASE("unshard is the inverse of shard, and each element has the owners that the style says", "[shard]") {
  dice d(20240607);
  std::size_t cut = 0, whole = 0, refused = 0, with_units = 0, packed = 0, uneven = 0;
  for (int n = 0; n < 4000; ++n) {
    trial t = throw_trial(d);
    if (t.imported) t.how.divided = sw::division::chunk;
    const sw::dtype type = std::vector{sw::dtype::u8, sw::dtype::bf16, sw::dtype::f32, sw::dtype::i64}[d.below(4)];
    sw::tree model;
    model.add(t.name, type, t.shape).config("", "heads", static_cast<std::int64_t>(t.units));
    const sw::rule rule("m", t.how);
    const sw::plan_view plan(&rule, 1);
    std::string shape;
    for (std::size_t e : t.shape) shape += std::to_string(e) + " ";
    INFO("trial " << n << ": " << t.how.name() << ", groups " << int(t.how.group_count) << ", units " << t.units
                  << ", imported " << t.imported << ", " << t.name << ", shape " << shape << ", tp " << t.tp);

    const int dim = cut_dim(t);
    std::vector<std::size_t> who;
    if (dim >= 0) {
      who = owners(t, t.shape[static_cast<std::size_t>(dim)]);
      if (who.empty()) {
        CHECK_THROWS_AS(sw::shard(plan, model, {.tp = t.tp}), sw::shard_error);
        ++refused;
        continue;
      }
    }
    const sw::sharding s = sw::shard(plan, model, {.tp = t.tp});
    REQUIRE(s[0].how.dim == dim);

    strided_tensor x(type, t.shape, d.below(3));
    x.for_each([&](const std::vector<std::size_t>& at) {
      for (std::size_t b = 0; b < sw::size_of(type); ++b) x.element(at)[b] = static_cast<std::byte>(d.below(256));
    });

    std::vector<strided_tensor> locals;
    std::vector<sw::tensor_view> views;
    std::size_t wrong = 0, held = 0;
    for (int r = 0; r < t.tp; ++r) {
      locals.emplace_back(type, s.local_shape(0, r), d.below(3));
      sw::shard_tensor(s, 0, r, x.view(), locals.back().view());
      held += s.bytes(0, r);
      // By the reference: a rank's positions of the cut dim, in order, follow each other in its local tensor.
      std::vector<std::size_t> mine;
      if (dim >= 0) {
        for (std::size_t e = 0; e < who.size(); ++e) {
          if (who[e] == static_cast<std::size_t>(r)) mine.push_back(e);
        }
        REQUIRE(s.local_shape(0, r)[static_cast<std::size_t>(dim)] == mine.size());
        uneven += mine.size() != who.size() / static_cast<std::size_t>(t.tp);
      }
      locals.back().for_each([&](std::vector<std::size_t> at) {
        const std::byte* have = locals.back().element(at);
        if (dim >= 0) at[static_cast<std::size_t>(dim)] = mine[at[static_cast<std::size_t>(dim)]];
        wrong += std::memcmp(have, x.element(at), sw::size_of(type)) != 0;
      });
      wrong += locals.back().touched_gaps();
    }
    CHECK(wrong == 0);
    CHECK(held == t.shape.elements() * sw::size_of(type) * (dim < 0 ? static_cast<std::size_t>(t.tp) : 1));

    for (strided_tensor& l : locals) views.push_back(l.view());
    strided_tensor again(type, t.shape, d.below(3));
    sw::unshard(s, 0, views.data(), again.view());
    wrong = again.touched_gaps();
    x.for_each([&](const std::vector<std::size_t>& at) {
      wrong += std::memcmp(x.element(at), again.element(at), sw::size_of(type)) != 0;
    });
    CHECK(wrong == 0);
    (dim < 0 ? whole : cut) += 1;
    with_units += dim >= 0 && t.units != 0;
    packed += dim >= 0 && s[0].how.groups > 1;
  }
  // The dice must have thrown something of everything.
  CAPTURE(cut, whole, refused, with_units, packed, uneven);
  CHECK((cut > 1000 && whole > 300 && refused > 300 && with_units > 100 && packed > 200 && uneven > 500));
}

TEST_CASE("a tensor of another shape or type than the sharding's is refused before anything is copied", "[shard]") {
  sw::tree model;
  model.add("m.weight", sw::dtype::f32, {4, 2});
  const sw::rule rule("m", sw::colwise);
  const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = 2});
  std::vector<float> whole(8, 1), local(8, 2);
  const sw::tensor_view x(whole.data(), sw::dtype::f32, {4, 2});
  const auto view = [&](sw::dtype type, const sw::tensor_shape& shape) {
    return sw::tensor_view(local.data(), type, shape);
  };
  CHECK_THROWS_MATCHES(sw::shard_tensor(s, 0, 1, x, view(sw::dtype::f32, {4, 1})), sw::shard_error,
                       says("the local tensor of 'm.weight' is F32 [4, 1], and must be F32 [2, 2]"));
  CHECK_THROWS_MATCHES(sw::shard_tensor(s, 0, 1, x, view(sw::dtype::i32, {2, 2})), sw::shard_error, says("I32 [2, 2]"));
  CHECK_THROWS_MATCHES(sw::unshard_tensor(s, 0, 1, view(sw::dtype::f32, {2, 2}), view(sw::dtype::f32, {2, 4})),
                       sw::shard_error, says("the whole tensor of 'm.weight' is F32 [2, 4], and must be F32 [4, 2]"));
  CHECK(local == std::vector<float>(8, 2));
}
